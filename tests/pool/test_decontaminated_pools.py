"""Pools from which chunks that share words with evaluation data are dropped."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from cli_runs import run_cli
from corpora import make_documents, with_copies, write_corpus
from screened import build, report_of, stages, texts_of, verified
from small_runs import contents

import nextlong
from nextlong.mining.ngrams import folded_words
from nextlong.pool import layout

SENTENCE = "In the beginning, nobody knew which of the THIRTEEN words (of this text) would ever matter to anyone."
SHORT = "a short question of exactly nine words, is it"
OTHER = " ".join(f"licence{number}" for number in range(20))


def filler(seed, words=60):
    generator = random.Random(seed)
    return " ".join("".join(generator.choices("abcdefgh", k=6)) for _ in range(words))


def document(identity, *paragraphs):
    return {"id": identity, "text": "\n".join(paragraphs)}


def halves(text, at=7):
    words = text.split()
    return " ".join(words[:at]), " ".join(words[at:])


@pytest.fixture
def corpus(tmp_path):
    """A document for each rule; paragraphs of some 400 characters, so each is a chunk."""
    first, second = halves(SENTENCE)
    documents = [
        document("clean", filler(0), filler(1), filler(2)),
        document("inside", filler(3), f"{filler(4)} {SENTENCE} {filler(5, 9)}", filler(6)),
        document("folded", filler(7), f"{filler(8, 40)} {SENTENCE.lower().replace(' ', '  -- ')}", filler(9)),
        document("across", filler(10), f"{filler(11)} {first}", f"{second} {filler(12)}", filler(13)),
        document("twelve", f"{filler(14)} {' '.join(SENTENCE.split()[:12])} {filler(15, 9)}", filler(16)),
        document("short", f"{filler(17)} {SHORT} {filler(18, 9)}", filler(19)),
        document("all", f"{filler(20)} {SENTENCE}"),
        *(document(f"licensed-{number}", f"{filler(30 + number, 40)} {OTHER}", filler(50 + number)) for number in range(4)),
    ]
    return write_corpus(tmp_path / "corpus.jsonl", documents)


@pytest.fixture
def evaluation(tmp_path):
    rows = [{"question": SHORT, "context": ["too short", SENTENCE]}, {"question": "x", "context": [OTHER]}]
    return write_corpus(tmp_path / "evaluation.jsonl", rows)


def screening(evaluation, **keys):
    return {"decontaminate": [str(evaluation)], **keys}


def positions(report):
    found = {}
    for row in report:
        found.setdefault(row["document"], []).append(row["position"])
    return found


CONTAMINATED = {
    "inside": [1],
    "folded": [1],
    "across": [1, 2],
    "short": [0],
    "all": [0],
    **{f"licensed-{number}": [0] for number in range(4)},
}


def test_what_is_contaminated_is_dropped_and_nothing_else(corpus, evaluation, tmp_path):
    plain = build(corpus, tmp_path / "plain")
    pool = build(corpus, tmp_path / "pool", screening(evaluation))
    report = report_of(pool.folder)
    assert positions(report) == CONTAMINATED
    assert all(row["dropped"] and row["reason"] == "evaluation" and row["other_position"] == -1 for row in report)
    left = {
        identity: [text for number, text in enumerate(texts) if number not in CONTAMINATED.get(identity, [])]
        for identity, texts in texts_of(plain).items()
    }
    assert texts_of(pool) == {identity: texts for identity, texts in left.items() if texts} and "all" not in texts_of(pool)
    counts = pool.description["counts"]
    assert (counts["contaminated_chunks"], counts["contaminated_documents"]) == (10, 9)
    assert (counts["dropped_chunks"], counts["dropped_documents"]) == (10, 1)
    assert pool.description["screening"]["evaluation"] == {
        "texts": 5,
        "whole_texts": 1,
        "ignored_texts": 2,
        "runs": len(folded_words(SENTENCE).split()) - 12 + 1 + 8,
    }
    assert verified(pool.folder)


def test_the_report_names_the_text_and_the_words(corpus, evaluation, tmp_path):
    build(corpus, tmp_path / "pool", screening(evaluation))
    by_document = {row["document"]: row for row in reversed(report_of(tmp_path / "pool"))}
    runs = len(folded_words(SENTENCE).split()) - 12
    first_run = " ".join(folded_words(SENTENCE).split()[:13])
    for name in ("inside", "folded", "across", "all"):
        row = by_document[name]
        assert (row["other_source"], row["other_row"], row["other_name"]) == (str(evaluation), 1, "context[1]")
        assert row["words"] == first_run and row["ngrams"] == runs
    assert (by_document["short"]["other_name"], by_document["short"]["words"]) == ("question", folded_words(SHORT))
    assert by_document["licensed-0"]["other_row"] == 2


def test_only_reporting_changes_nothing_but_the_report(corpus, evaluation, tmp_path):
    plain = build(corpus, tmp_path / "plain")
    pool = build(corpus, tmp_path / "pool", screening(evaluation, contaminated="report"))
    assert pool.id == plain.id and positions(report_of(pool.folder)) == CONTAMINATED
    assert not any(row["dropped"] for row in report_of(pool.folder)) and verified(pool.folder)
    assert pool.description["counts"]["contaminated_chunks"] == 10
    assert pool.description["counts"]["dropped_chunks"] == 0


def test_whole_documents(corpus, evaluation, tmp_path):
    pool = build(corpus, tmp_path / "pool", screening(evaluation, contaminated="documents"))
    assert set(texts_of(pool)) == {"clean", "twelve"}
    report = report_of(pool.folder)
    assert positions([row for row in report if row["reason"] == "evaluation"]) == CONTAMINATED
    rest = [row for row in report if row["reason"] == "document"]
    assert positions(rest)["across"] == [0, 3] and {row["ngrams"] for row in rest} == {0}
    assert all(row["words"] for row in rest) and verified(pool.folder)
    assert [row["position"] for row in report if row["document"] == "across"] == [0, 1, 2, 3]
    assert pool.description["counts"]["contaminated_chunks"] == 10


def test_what_many_documents_have_is_no_contamination(corpus, evaluation, tmp_path):
    pool = build(corpus, tmp_path / "pool", screening(evaluation, max_ngram_documents=3))
    # The sentence is in four documents, as the licence is; its runs across the border too.
    assert positions(report_of(pool.folder)) == {"short": [0]} and verified(pool.folder)
    pool = build(corpus, tmp_path / "pool", screening(evaluation, max_ngram_documents=4), overwrite=True)
    assert positions(report_of(pool.folder)) == CONTAMINATED and verified(pool.folder)
    shown = pool.description["screening"]["most_shared"]
    assert shown[0]["documents"] == 4 and len(shown[0]["words"].split()) == 13


def test_fewer_words_and_certain_fields(corpus, evaluation, tmp_path):
    pool = build(corpus, tmp_path / "pool", screening(evaluation, ngram_words=10, evaluation_fields=["context"]))
    assert "twelve" in positions(report_of(pool.folder)) and "short" not in positions(report_of(pool.folder))
    assert verified(pool.folder)


def test_a_copy_of_what_was_dropped_is_judged_by_itself(tmp_path):
    """A near-copy without the words is kept, although the first of the group is dropped; what is copied twice, once."""
    words = filler(0, 200).split()
    first = " ".join([*words, *SENTENCE.split()[:13]])
    near = " ".join([*words, *filler(1, 13).split()])
    documents = [document("first", first), document("near", near), document("again", near), document("end", filler(2))]
    corpus = write_corpus(tmp_path / "corpus.jsonl", documents)
    evaluation = write_corpus(tmp_path / "evaluation.jsonl", [{"text": SENTENCE}])
    keys = {"chunking": {"granularity": 2000}}
    both = build(corpus, tmp_path / "both", screening(evaluation, deduplicate="drop"), **keys)
    assert list(texts_of(both)) == ["near", "end"] and verified(tmp_path / "both")
    rows = report_of(tmp_path / "both")
    assert [(row["document"], row["reason"], row["other_name"]) for row in rows] == [
        ("first", "evaluation", "text"),
        ("again", "copy", "near"),
    ]
    alone = build(corpus, tmp_path / "alone", {"deduplicate": "drop"}, **keys)
    assert list(texts_of(alone)) == ["first", "end"]
    # Only reported, it is there, and has its copies.
    reported = build(corpus, tmp_path / "reported", screening(evaluation, contaminated="report", deduplicate="drop"), **keys)
    assert list(texts_of(reported)) == ["first", "end"] and verified(tmp_path / "reported")
    assert [row["reason"] for row in report_of(tmp_path / "reported")] == ["evaluation", "near-copy", "copy"]


def test_runs_that_shards_and_workers_do_not_change(tmp_path, monkeypatch):
    documents = with_copies(make_documents(40))
    corpus = [write_corpus(tmp_path / f"{n}.jsonl", documents[n * 17 : (n + 1) * 17]) for n in range(3)]
    evaluation = write_corpus(tmp_path / "evaluation.jsonl", [{"text": each["text"][200:420]} for each in documents[::6]])
    rules = screening(evaluation, deduplicate="drop")
    one = build(corpus, tmp_path / "one" / "pool", rules)
    assert one.description["counts"]["contaminated_chunks"] > 5 and verified(one.folder)
    for workers in (2, 4):
        build(corpus, tmp_path / f"of-{workers}" / "pool", rules, workers=workers)
        assert contents(tmp_path / f"of-{workers}" / "pool") == contents(one.folder)
    monkeypatch.setattr(layout, "SHARD_CHARACTERS", 3_000)
    many = build(corpus, tmp_path / "many" / "pool", rules)
    assert len(many.shards) > 6 and texts_of(many) == texts_of(one)
    assert report_of(many.folder) == report_of(one.folder) and verified(many.folder)


def test_exactly_what_depends_on_the_evaluation_data_is_done_again(corpus, evaluation, tmp_path):
    folder = tmp_path / "pool"
    whole = ["evaluation", "ingest", "fingerprint", "match", "shared", "screen", "catalog", "fit", "embed", "index"]
    build(corpus, folder, screening(evaluation))
    assert stages(folder) == whole

    def since(rules, changed=True):
        done = len(stages(folder))
        if changed:
            with pytest.raises(nextlong.UsageError, match="another configuration"):
                build(corpus, folder, rules)
        build(corpus, folder, rules, overwrite=changed)
        assert verified(folder)
        return stages(folder)[done:]

    assert since(screening(evaluation), changed=False) == []
    assert since(screening(evaluation, contaminated="documents")) == whole[5:]
    other = write_corpus(tmp_path / "other.jsonl", [{"text": SENTENCE}])
    assert since(screening(other, contaminated="documents")) == ["evaluation", *whole[3:]]
    # Evaluation data with the same runs in another file: what a report says changes, the pool does not.
    same = write_corpus(tmp_path / "same.jsonl", [{"words": SENTENCE}])
    assert since(screening(same, contaminated="documents")) == ["evaluation", "match", "shared", "screen"]
    assert since(screening(same, contaminated="documents", deduplicate="report")) == ["deduplicate", "screen"]
    fresh = build(corpus, tmp_path / "fresh" / "pool", screening(evaluation))
    assert since(screening(evaluation))[:1] == ["evaluation"]
    assert {path.split("/", 1)[-1] for path in contents(folder)} == {
        path.split("/", 1)[-1] for path in contents(fresh.folder)
    }
    assert nextlong.Pool(folder).id == fresh.id
    plain = build(corpus, tmp_path / "plain" / "pool")
    assert since({}) and nextlong.Pool(folder).id == plain.id
    assert not (folder / layout.SCREENING).exists() and not (folder / layout.INGESTED).exists()


def test_evaluation_data_that_was_changed_is_noticed(corpus, evaluation, tmp_path):
    build(corpus, tmp_path / "pool", screening(evaluation))
    write_corpus(evaluation, [{"text": filler(0)}])
    with pytest.raises(nextlong.UsageError, match="another configuration"):
        build(corpus, tmp_path / "pool", screening(evaluation))
    pool = build(corpus, tmp_path / "pool", screening(evaluation), overwrite=True)
    assert positions(report_of(pool.folder)) == {"clean": [0]}


def test_errors_come_before_the_corpus_is_read(corpus, evaluation, tmp_path):
    with pytest.raises(nextlong.UsageError, match="nothing"):
        build(corpus, tmp_path / "pool", screening(tmp_path / "nothing.jsonl"))
    short = write_corpus(tmp_path / "short.jsonl", [{"text": "a few words"}, {"text": "and some more of them"}])
    with pytest.raises(nextlong.NextlongError, match="2 texts, and none with 8 words"):
        build(corpus, tmp_path / "pool", screening(short), overwrite=True)
    evaluation.write_text(evaluation.read_text() + "{broken\n")
    with pytest.raises(nextlong.NextlongError, match="row 3: broken JSON"):
        build(corpus, tmp_path / "pool", screening(evaluation), overwrite=True)
    assert not (tmp_path / "pool" / layout.INGESTED).exists()
    with pytest.raises(nextlong.NextlongError, match="No document is left"):
        everything = write_corpus(tmp_path / "all.jsonl", [json.loads(line) for line in corpus.open()])
        build(corpus, tmp_path / "none", screening(everything, contaminated="documents"))


def test_a_dataset_of_what_is_left(corpus, evaluation, tmp_path, tokenizer_folder):
    pool = build(corpus, tmp_path / "pool", screening(evaluation))
    for method in ("nextlong", "standard"):
        keys = {"roots": 2} if method == "nextlong" else {"tokens": 2048}
        composition = {"method": method}
        nextlong.synthesize(
            pool, tmp_path / method, workers=1, length=2048, tokenizer=tokenizer_folder, composition=composition, **keys
        )
        assert nextlong.verify(tmp_path / method, workers=1).failures == []
    every = " ".join(pool.texts(np.arange(pool.chunks)))
    assert folded_words(SHORT) not in folded_words(every) and OTHER not in every


@pytest.mark.parametrize("part", ["screening/evaluation/keys.npy", "screening/evaluation/names.arrow", "screening/matches"])
def test_what_a_screening_reads_is_looked_at_first(corpus, evaluation, tmp_path, part):
    """Damage of the same size, then something new made of it: an error that names the file; deleted, it is made anew."""
    expected = build(corpus, tmp_path / "fresh" / "pool", screening(evaluation, contaminated="documents"))
    folder = tmp_path / "pool"
    build(corpus, folder, screening(evaluation))
    path = folder / part if (folder / part).is_file() else min((folder / part).iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    rules = screening(evaluation, contaminated="documents")
    with pytest.raises(nextlong.NextlongError, match=path.name):
        build(corpus, folder, rules, overwrite=True)
    path.unlink()
    assert build(corpus, folder, rules, overwrite=True).id == expected.id and verified(folder)


def test_the_plan_names_the_stages_in_their_order(corpus, evaluation, tmp_path):
    folder = tmp_path / "pool"
    rules = ("--decontaminate", evaluation, "--deduplicate", "drop", "--granularity", "300", "--encoder", "lsa")
    result = run_cli("index", corpus, "--out", folder, *rules, "--plan")
    assert result.exit_code == 0, result.stderr
    planned = [
        line.split()[0] for line in result.stdout.splitlines()[2:] if line[:1].islower() and ":" not in line.split()[0]
    ]
    build(corpus, folder, screening(evaluation, deduplicate="drop"))
    assert planned == [stage for stage in stages(folder) if stage != "fit"]
