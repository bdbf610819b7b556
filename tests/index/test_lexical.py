from __future__ import annotations

import json
import math
import os
import pickle
import resource
import shutil
import subprocess
import sys
import unicodedata
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nextlong.errors import NextlongError, UsageError
from nextlong.index import lexical
from nextlong.index.lexical import FILES, LexicalReport, build_lexical, load_lexical, terms

# Words of Zipf-like frequency: some in nearly every text, some in one.
WORDS = [f"w{number}" for number in range(300)]


def random_texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 60), p=share / share.sum())) for _ in range(count)]


def brute_force(texts: list[str], query: str) -> list[float]:
    """Lucene's BM25 from its formula: every term of the query as often as it is in it."""
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)
    holding = {term: sum(term in words for words in split) for term in query.split()}
    scores = []
    for words in split:
        score = 0.0
        for term in query.split():
            idf = math.log(1 + (len(split) - holding[term] + 0.5) / (holding[term] + 0.5))
            frequency = words.count(term)
            score += idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * len(words) / mean))
        scores.append(score)
    return scores


def built(folder: Path, texts: list[str]):
    build_lexical(iter(texts), folder)
    return load_lexical(folder, len(texts))


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    texts = random_texts(180)
    return texts + texts[:20]  # copies: ties


@pytest.fixture(scope="module")
def index(corpus, tmp_path_factory):
    return built(tmp_path_factory.mktemp("lexical"), corpus)


def test_scores_and_order_are_those_of_lucenes_formula(index, corpus):
    queries = corpus[::15]
    scores, ordinals = index.search(queries, len(corpus))
    assert scores.dtype == np.float32 and ordinals.dtype == np.int64
    assert scores.shape == ordinals.shape == (len(queries), len(corpus))
    compared = 0
    for query, row, found in zip(queries, scores, ordinals, strict=True):
        expected = np.array(brute_force(corpus, query))
        there = int((expected > 0).sum())
        np.testing.assert_allclose(row[:there], expected[found[:there]], rtol=1e-5, atol=1e-4)
        # Rounding may swap what differs by less than it, and nothing else; 9 decimals keep copies equal.
        assert found[:there].tolist() == np.lexsort((np.arange(len(corpus)), -expected.round(9)))[:there].tolist()
        assert (found[there:] == -1).all() and np.isneginf(row[there:]).all()
        compared += there
    assert compared > 1000


def test_a_sum_is_exact(tmp_path):
    """The float32 score is the rational sum of the stored shares, rounded once, so no order of summation matters."""
    # A word of every text has shares so small that float32 has more places than the grid.
    texts = [f"the {text} the" for text in random_texts(400)]
    query = " ".join(texts[:40])
    scores, ordinals = built(tmp_path, texts).search([query], 50)
    shares, holders, starts = (np.load(tmp_path / name) for name in FILES[:3])
    vocabulary = json.loads((tmp_path / FILES[3]).read_text(encoding="utf-8"))
    assert 0 < shares.min() < 2**-10
    assert all(Fraction(share).denominator <= 1 << 32 for share in shares.tolist())
    for score, ordinal in zip(scores[0], ordinals[0], strict=True):
        total = Fraction(0)
        for term in query.split():
            begin, end = starts[vocabulary[term] : vocabulary[term] + 2]
            total += sum(map(Fraction, shares[begin:end][holders[begin:end] == ordinal].tolist()), Fraction(0))
        assert float(total) == total and score == np.float32(float(total))


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.lists(st.sampled_from("abcde"), max_size=4).map(" ".join), min_size=1, max_size=40),
    query=st.lists(st.sampled_from("abcdef"), max_size=8).map(" ".join),
    depths=st.tuples(st.integers(1, 6), st.integers(1, 50)).map(sorted),
)
@example(texts=["a b", "a", "a", "b a", "a"], query="a", depths=[2, 5])
def test_a_deeper_search_finds_the_same_first(tmp_path_factory, texts, query, depths):
    """Few words and short texts: most scores are ties."""
    index = built(tmp_path_factory.mktemp("deeper"), texts)
    (short, first), (long, more) = (index.search([query], k) for k in depths)
    np.testing.assert_array_equal(first, more[:, : depths[0]])
    np.testing.assert_array_equal(short, long[:, : depths[0]])
    there = more[0] >= 0
    order = list(zip((-long[0, there]).tolist(), more[0, there].tolist(), strict=True))
    assert order == sorted(order) and (long[0, there] > 0).all()
    sharing = {number for number, text in enumerate(texts) if set(text.split()) & set(query.split())}
    found = set(more[0, there].tolist())
    whole = index.search([query], len(texts))[1][0].tolist()
    assert first[0].tolist() == (whole + [-1] * depths[0])[: depths[0]]
    assert found <= sharing and len(found) == min(depths[1], len(sharing))


def test_an_answer_does_not_depend_on_the_other_queries_or_on_groups(index, corpus, monkeypatch):
    together = index.search(corpus[:30], 25)
    monkeypatch.setattr(lexical, "_POSTINGS", 7)  # less than most terms have
    for number in range(30):
        alone = index.search([corpus[number]], 25)
        np.testing.assert_array_equal(alone[0][0], together[0][number])
        np.testing.assert_array_equal(alone[1][0], together[1][number])


def test_a_term_counts_as_often_as_the_query_has_it(tmp_path):
    index = built(tmp_path, ["apple", "pear"])
    assert index.search(["apple pear pear"], 2)[1].tolist() == [[1, 0]]
    once, thrice = (index.search([query], 1)[0][0, 0] for query in ("apple", "apple apple apple"))
    assert thrice == pytest.approx(3 * once)


def test_the_same_texts_give_the_same_bytes(tmp_path):
    """Also in another process with another seed of `hash`, and over an earlier index."""
    texts = [*random_texts(50), "数据结构与算法", "naïve résumé", ""]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = (
        "import json, pathlib, sys; from nextlong.index.lexical import build_lexical\n"
        "build_lexical(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))"
    )
    for name in ("one", "two"):
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "texts.json", tmp_path / name],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": name[0].replace("o", "1").replace("t", "2")},
        )
    build_lexical(random_texts(70, seed=1), tmp_path / "three")
    report = build_lexical(texts, tmp_path / "three")
    for name in ("one", "two", "three"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(FILES)
        for file in FILES:
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "one" / file).read_bytes(), file
    lengths = [len(terms(text)) for text in texts]
    assert report.chunks == 53 and report.length == sum(lengths) / 53
    assert report.terms == len(set().union(*map(terms, texts)))
    assert report.postings == sum(len(set(terms(text))) for text in texts)


def test_bm25s_opens_the_folder(index, corpus):
    """The format is the library's, and its own scores are ours."""
    import bm25s

    model = bm25s.BM25.load(index._folder)
    scores, ordinals = index.search([corpus[3]], 10)
    np.testing.assert_allclose(model.get_scores(corpus[3].split())[ordinals[0]], scores[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("…!? --", []),
        ("Don't read_file(ÀB, 3.14)", ["don", "t", "read_file", "àb", "3", "14"]),
        ("Cafe\u0301 ﬁle \uff21\uff22", ["café", "file", "ab"]),  # composed, ligatures and wide letters
        ("हिन्दी में", ["हिन्दी", "में"]),  # words with combining marks stay whole
        ("Straße ΟΔΟΣ", ["straße", "οδος"]),
        ("한국어 문장", ["한국어", "문장"]),  # Korean has spaces
        ("数据结构", ["数据", "据结", "结构"]),
        ("中", ["中"]),
        ("用Python3写的。程序", ["用", "python3", "写的", "程序"]),
        ("カタカナと漢字", ["カタ", "タカ", "カナ", "ナと", "と漢", "漢字"]),
        ("ที่นี่", ["ที่นี่"]),  # two letters, each with two marks
        ("กินข้าว", ["กิน", "นข้", "ข้า", "าว"]),
    ],
)
def test_terms(text, expected):
    assert terms(text) == expected


@settings(deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
@example("ก\u0301中\u0e31a\u0e31")
def test_terms_of_anything(text):
    found = terms(text)
    assert all(term and not any(character.isspace() for character in term) for term in found)
    assert terms(text) == terms(text + "\n") == found
    assert bool(found) == any(character.isalnum() or character == "_" for character in unicodedata.normalize("NFKC", text))


def test_finds_chinese_and_thai_by_what_they_share(tmp_path):
    texts = ["机器学习是人工智能的一个分支", "今天天气很好", "ฉันกินข้าวที่บ้าน", "เขาอ่านหนังสือ", "deep learning"]
    index = built(tmp_path, texts)
    _, ordinals = index.search(["人工智能与机器学习", "เรากินข้าว", "learning 天气"], 2)
    assert ordinals[:2].tolist() == [[0, -1], [2, -1]]
    assert set(ordinals[2].tolist()) == {1, 4}


def test_queries_without_a_known_term_find_nothing(index):
    scores, ordinals = index.search(["", "unheard of", " \n\t…"], 3)
    assert (ordinals == -1).all() and np.isneginf(scores).all()
    assert index.search([], 3)[1].shape == (0, 3)


def test_a_pool_of_one_chunk_and_one_without_any_term(tmp_path):
    index = built(tmp_path / "one", ["all alone"])
    scores, ordinals = index.search(["alone", "nobody"], 4)
    assert ordinals.tolist() == [[0, -1, -1, -1], [-1] * 4] and scores[0, 0] > 0
    with np.errstate(all="raise"):
        assert build_lexical(["", "…"], tmp_path / "none") == LexicalReport(2, 0, 0, 0.0)
    assert (load_lexical(tmp_path / "none", 2).search(["alone", ""], 2)[1] == -1).all()


def test_goes_to_another_process(index, corpus):
    other = pickle.loads(pickle.dumps(index))  # noqa: S301
    np.testing.assert_array_equal(other.search(corpus[:3], 9)[1], index.search(corpus[:3], 9)[1])
    assert len(pickle.dumps(index)) < 1000


def test_usage(index, tmp_path):
    with pytest.raises(UsageError, match="0 nearest"):
        index.search(["w1"], 0)
    with pytest.raises(NextlongError, match="no chunks"):
        build_lexical([], tmp_path)


def rewritten(name, change):
    def damage(folder: Path) -> None:
        np.save(folder / name, change(np.load(folder / name)))

    return damage


def replaced(name, before, after):
    def damage(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert before in text
        (folder / name).write_text(text.replace(before, after), encoding="utf-8")

    return damage


def cut(name):
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "overwritten"])
def test_a_damaged_file_is_named_with_what_to_do(index, tmp_path, name, damage):
    folder = shutil.copytree(index._folder, tmp_path / "copy")
    if damage == "missing":
        (folder / name).unlink()
    elif damage == "cut":
        cut(name)(folder)
    else:
        (folder / name).write_bytes(b"" if damage == "empty" else bytes(range(256)) * 40)
    with pytest.raises(NextlongError, match="copy") as caught:
        load_lexical(folder, index.chunks)
    assert "nextlong index" in caught.value.hint


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rewritten(FILES[0], lambda data: data[:-1]), "postings"),
        (rewritten(FILES[0], lambda data: data.astype(np.float64)), "float64"),
        (rewritten(FILES[0], lambda data: data[:, None]), "of 2 dimensions"),
        (rewritten(FILES[1], lambda ordinals: ordinals[1:]), "postings"),
        (rewritten(FILES[2], lambda starts: starts[::-1].copy()), "postings"),
        (rewritten(FILES[2], lambda starts: starts[:-1]), "terms"),
        (rewritten(FILES[2], lambda starts: starts[:0]), "terms"),
        (rewritten(FILES[2], lambda starts: starts[0]), "of 0 dimensions"),
        (replaced(FILES[3], ": 5,", ": 6,"), "terms"),
        (replaced(FILES[3], ": 5,", ': "5",'), "terms"),
        (replaced(FILES[3], "{", "[{"), "char"),
        (replaced(FILES[4], '"k1"', '"k7"'), "no `k1`"),
        (replaced(FILES[4], '"k1": 1.5', '"k1": 1.2'), "other parameters"),
        (replaced(FILES[3], "{", "[" * 9999 + "{"), "nested too deeply"),
        (replaced(FILES[4], '"num_docs": 200', '"num_docs": 199'), "199 chunks"),
    ],
)
def test_files_that_do_not_fit_each_other(index, tmp_path, damage, message):
    folder = shutil.copytree(index._folder, tmp_path / "copy")
    damage(folder)
    with pytest.raises(NextlongError, match=message):
        load_lexical(folder, index.chunks)


def test_an_index_of_another_pool(index):
    with pytest.raises(NextlongError, match=f"made from {index.chunks} chunks, the pool has 7"):
        load_lexical(index._folder, 7)


@pytest.mark.parametrize("wrong", [-1, 200, 2**31 - 1])
def test_ordinals_beyond_the_pool_are_an_error_and_not_a_crash(index, corpus, tmp_path, wrong):
    folder = shutil.copytree(index._folder, tmp_path / "copy")
    rewritten(FILES[1], lambda ordinals: np.full_like(ordinals, wrong))(folder)
    with pytest.raises(NextlongError, match="does not have"):
        load_lexical(folder, index.chunks).search(corpus[:1], 3)


@contextmanager
def files_of_at_most(size):
    """No file may grow beyond so many bytes in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_space_is_a_clear_error_and_what_is_left_is_no_index(tmp_path):
    texts = random_texts(150)
    built(tmp_path, texts)
    with files_of_at_most(2_000), pytest.raises(NextlongError, match="No space left to write"):
        build_lexical(texts, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= set(FILES)
    with pytest.raises(NextlongError, match="Cannot use the BM25 index"):
        load_lexical(tmp_path, len(texts))
    assert built(tmp_path, texts).search(texts[:1], 1)[1][0, 0] >= 0
