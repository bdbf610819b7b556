"""Invariants of any dataset of any corpus, checked by plain code that reads only what lies on disk."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from corpora import write_corpus
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import nextlong

_WORDS = ["the", "of", "and", "in", "river", "stone", "glass", "harbour", "winter", "engine", "quantum", "árbol", "żółw"]
_WORDS += ["漢字", "🌍", "don't", "e\u0301", "12345", "x=1;", "</s>", "<|end_of_text|>"]
_GAPS = (" ", " ", " ", " ", "  ", "\t", "\u00a0", "\n", "\n", "\n\n", "\r\n", "\n \n")


def odd_documents(amount, seed):
    """Documents of odd words and gaps; some repeat others, or other documents' lines."""
    generator = random.Random(seed)
    texts = []
    for _ in range(amount):
        if texts and generator.random() < 0.2:
            texts.append(generator.choice(texts) + generator.choice(["", " ", "\n", " again"]))
        elif texts and generator.random() < 0.1:
            texts.append("\n".join(generator.choice(texts) for _ in range(2)))
        else:
            some = generator.sample(_WORDS, 8) + [str(generator.randrange(1000)) for _ in range(30)]
            amount = generator.randint(5, 60)
            texts.append("".join(generator.choice(some) + generator.choice(_GAPS) for _ in range(amount)))
    return [{"text": text} if generator.random() < 0.3 else {"id": f"d{n}", "text": text} for n, text in enumerate(texts)]


@st.composite
def options(draw):
    """Length, amount of tokens, and the sections of the configuration."""
    length = draw(st.integers(200, 900))
    return {
        "length": length,
        "tokens": length * draw(st.integers(1, 3)) - draw(st.integers(0, length - 1)),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "mining": {
            "negatives": draw(st.sampled_from(["top", "top", "top", "random", "low"])),
            "max_reuse": draw(st.sampled_from([None, None, None, 2])),
            "max_jaccard": draw(st.sampled_from([0.8, 0.5, None])),
        },
        "composition": {
            "mode": draw(st.sampled_from(["token-exact", "token-exact", "paper"])),
            "position": draw(st.sampled_from(["head", "tail", "random"])),
            "separator": draw(st.sampled_from(["\n\n", "\n", " ", "x", "\n\n##\n\n"])),
            "bos": draw(st.booleans()),
            "eos": draw(st.booleans()),
            "characters_per_token": 2.0,  # such text is dense
            "max_root_fraction": draw(st.sampled_from([0.5, 0.9, 0.999])),
        },
    }


@dataclass
class Chunk:
    document: int
    position: int
    text: str


def chunks_of(pool, documents):
    """The pool's chunks as they lie on disk; what they leave out of the documents is white space."""
    chunks = []
    for path in sorted((pool / "chunks").glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            chunks += pa.ipc.open_file(source).read_all().to_pylist()
    for number, document in enumerate(documents):
        own = [chunk for chunk in chunks if chunk["document"] == number]
        assert "".join(chunk["text"] + chunk["glue"] for chunk in own).split() == document["text"].split()
        for chunk in own:
            assert document["text"][chunk["start"] :].startswith(chunk["text"])
    return [Chunk(chunk["document"], chunk["position"], chunk["text"]) for chunk in chunks]


def check_row(row, sequence, chunks, ids, config, tokenizer):
    """Everything that a row promises by itself."""
    length, composition = config["length"], config["composition"]
    tokens, spans = row["input_ids"], row["spans"]
    assert spans == sequence["spans"] and row["id"] == sequence["id"]
    assert len(tokens) == length
    first, stop = int(composition["bos"]), length - int(composition["eos"])
    assert tokens[:first] == [0] * first and tokens[stop:] == [1] * (length - stop)
    assert not {0, 1} & set(tokens[first:stop])

    # The tokens are those of the text, encoded at once; the spans cover them.
    placed = [chunks[span["chunk"]] for span in spans]
    separator = composition["separator"]
    parts = [chunk.text + separator for chunk in placed]
    whole = "".join(parts)
    encoding = tokenizer.encode(whole + "a", add_special_tokens=False)
    assert tokens[first:stop] == encoding.ids[: stop - first]
    assert [span["token_start"] for span in spans] == [first, *(span["token_end"] for span in spans[:-1])]
    assert spans[-1]["token_end"] == stop
    for span, chunk in zip(spans, placed, strict=True):
        assert (ids[chunk.document], chunk.position) == (span["document"], span["position"])

    # The root's chunks, all, whole, in order, the first of each group or where the position says.
    metas = [span for span in spans if span["role"] == "meta"]
    negatives = [span for span in spans if span["role"] == "negative"]
    (root,) = {chunk.document for chunk in chunks if ids[chunk.document] == sequence["root"]}
    own = [number for number, chunk in enumerate(chunks) if chunk.document == root]
    assert [span["chunk"] for span in metas] == own[: len(metas)] and len(own) >= 2
    assert [span["group"] for span in metas] == list(range(len(metas)))
    if composition["mode"] == "token-exact":
        assert len(metas) == len(own)
        last = spans.index(metas[-1])
        assert last < len(spans) - 1, "the chunk that is cut is a negative"
        text = tokenizer.decode(tokens[first : spans[last]["token_end"]], skip_special_tokens=False)
        assert text.startswith("".join(parts[: last + 1]).removesuffix(separator).rstrip()), "a meta-chunk is cut"

    # Negatives: none twice, none of the root, none a copy; best first.
    used = [span["chunk"] for span in negatives]
    assert len(set(used)) == len(used) and not set(used) & set(own)
    folded = [" ".join(chunks[chunk].text.split()) for chunk in used]
    assert len(set(folded)) == len(folded)
    assert not set(folded) & {" ".join(chunks[chunk].text.split()) for chunk in own}
    for meta in metas:
        group = [span for span in negatives if span["group"] == meta["group"]]
        ranks, scores = [span["rank"] for span in group], [span["score"] for span in group]
        assert ranks == sorted(set(ranks)) and all(rank >= 1 for rank in ranks)
        if config["mining"]["negatives"] != "random":
            assert scores == sorted(scores, reverse=config["mining"]["negatives"] == "top")
        around = [span["role"] for span in spans if span["group"] == meta["group"]]
        cut = composition["mode"] == "token-exact" and meta is metas[-1]
        if composition["position"] == "head":
            assert around[0] == "meta"
        elif composition["position"] == "tail" and spans[-1]["group"] != meta["group"]:
            assert around[-1] == "meta"
        elif composition["position"] == "tail" and cut:
            assert around[-2:] == ["meta", "negative"]


def check_budgets(row, tokenizer, chunks, separator):
    """Token-exact: after group i at most i / p of the negatives' tokens are spent, and hardly less."""
    spans = row["spans"]
    groups = spans[-1]["group"] + 1
    tokens = [span["token_end"] - span["token_start"] for span in spans]
    budget = sum(amount for amount, span in zip(tokens, spans, strict=True) if span["role"] == "negative")
    longest = max(len(tokenizer.encode(chunk.text + separator).ids) for chunk in chunks) + 3
    spent = 0
    # Where chunks of odd edges meet, a join has a token more or less than its chunks were counted with.
    slack = 2 * len(spans)
    for group in range(groups - 1):
        spent += sum(
            amount
            for amount, span in zip(tokens, spans, strict=True)
            if span["role"] == "negative" and span["group"] == group
        )
        share = budget * (group + 1) / groups
        assert share - longest - slack <= spent <= share + slack


# Corpora come from a random generator, so shrinking would take minutes and make nothing simpler.
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    st.integers(15, 50),
    st.integers(0, 2**32),
    options(),
    st.integers(20, 150),
    st.sampled_from(["lossless", "lossless", "paper"]),
)
def test_any_dataset_of_any_corpus(tokenizer_folder, amount, seed, config, granularity, chunker):
    documents = odd_documents(amount, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chunking = {"chunker": chunker, "granularity": granularity}
        pool = nextlong.build_pool(
            write_corpus(folder / "corpus.jsonl", documents),
            folder / "pool",
            workers=1,
            chunking=chunking,
            encoder={"name": "lsa", "dimensions": 16},
        )
        assert nextlong.verify(pool.folder, workers=1).failures == []
        try:
            card = nextlong.synthesize(pool, folder / "data", workers=1, tokenizer=tokenizer_folder, **config)
        except nextlong.NextlongError as error:
            event("too little text")
            assert "sequences" in error.message or "run out" in error.message
            return
        event(f"made: {config['composition']['mode']}")
        report = nextlong.verify(folder / "data", workers=1)
        assert (
            report.failures == []
            and report.checks[f"rows of exactly {config['length']:,} tokens"] == card["counts"]["sequences"]
        )

        rows = pq.read_table(folder / "data" / "tokens").to_pylist()
        sequences = pq.read_table(folder / "data" / "sequences").to_pylist()
        assert len(rows) == math.ceil(config["tokens"] / config["length"]) == card["counts"]["sequences"]
        assert len({row["root"] for row in sequences}) == len(rows) == len({row["id"] for row in rows})
        chunks = chunks_of(pool.folder, documents)
        ids = {chunk.document: sequence for chunk, sequence in zip(chunks, _ids(pool, chunks), strict=True)}
        tokenizer = Tokenizer.from_file(str(Path(tokenizer_folder) / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        for row, sequence in zip(rows, sequences, strict=True):
            check_row(row, sequence, chunks, ids, config, tokenizer)
            if config["composition"]["mode"] == "token-exact":
                check_budgets(row, tokenizer, chunks, config["composition"]["separator"])
        if config["mining"]["max_reuse"]:
            used = Counter(span["chunk"] for row in rows for span in row["spans"] if span["role"] == "negative")
            assert max(used.values()) <= config["mining"]["max_reuse"]


def _ids(pool, chunks):
    import numpy as np

    return pool.document_ids(np.array([chunk.document for chunk in chunks]))
