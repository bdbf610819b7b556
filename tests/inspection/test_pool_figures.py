"""Figures of pools that are known by construction."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import nextlong
from nextlong.execution.files import read_description, write_description
from nextlong.inspection import pool_figures
from nextlong.inspection.stats import stats

WORDS = [first + second for first in ("ba", "ce", "di", "fo") for second in ("lo", "mane", "ri", "tuka")]


def write(path, texts):
    lines = [json.dumps({"id": f"doc-{number}", "text": text}) + "\n" for number, text in enumerate(texts)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def words(seed, count=60):
    draw = random.Random(seed)
    return [f"{draw.choice(WORDS)}{draw.randrange(1000)}" for _ in range(count)]


def built(folder, texts, **keys):
    corpus = write(folder / "corpus.jsonl", texts)
    return nextlong.build_pool(corpus, folder / "pool", workers=1, encoder={"name": "lsa", "dimensions": 16}, **keys)


def test_copies_are_counted(tmp_path):
    """20 documents of a chunk each: 3 repeat another but for white space, 2 change one word of another's 60."""
    texts = [" ".join(words(seed)) for seed in range(15)]
    texts += [texts[0].replace(" ", "\n"), texts[1] + " ", texts[1] + "\n\n"]
    for seed in (2, 3):
        changed = words(seed)
        changed[-1] = "another"
        texts.append(" ".join(changed))
    figures = stats(built(tmp_path, texts).folder)
    assert (figures.kind, figures.looked_at, figures.whole, figures.counts["documents"]) == ("pool", 20, True, 20)
    assert (figures.copies.equal, figures.copies.equal_of) == (pytest.approx(3 / 20), 20)
    # The copies and what they are copies of: 0, 15; 1, 16, 17; 2, 18; 3, 19.
    assert (figures.copies.near, figures.copies.near_of) == (pytest.approx(9 / 20), 20)
    assert figures.chunk_characters.mean == pytest.approx(np.mean([len(text.strip()) for text in texts]), abs=1)
    assert figures.document_chunks.most == figures.document_chunks.least == 1


def test_what_a_screening_found_is_told(tmp_path):
    texts = [" ".join(words(seed)) for seed in range(15)]
    texts += [texts[0].replace(" ", "\n"), texts[1] + " "]
    assert stats(built(tmp_path, texts, screening={"deduplicate": "drop"}).folder).screened == {
        "chunks with the words of an earlier one": 2,
        "chunks with nearly the words of an earlier one": 0,
        "chunks dropped": 2,
        "documents dropped": 2,
    }


def test_of_many_keys_a_part_tells_the_share(tmp_path, monkeypatch):
    texts = [" ".join(words(seed)) for seed in range(400)]
    texts += [text + "\n" for text in texts[:100]]
    pool = built(tmp_path, texts)
    assert stats(pool.folder).copies.equal == pytest.approx(0.2)
    monkeypatch.setattr(pool_figures, "_MOST_KEYS", 250)
    part = stats(pool.folder).copies
    assert 150 < part.equal_of < 350
    assert part.equal == pytest.approx(0.2, abs=0.06)


def test_the_health_of_vectors(family_pool):
    found = stats(family_pool.folder).vectors
    vectors = family_pool.vectors.take(np.arange(family_pool.chunks)).astype(np.float64)
    assert (found.dimensions, found.looked_at) == (vectors.shape[1], family_pool.chunks)
    lengths = np.linalg.norm(vectors, axis=1)
    assert found.zero == int((lengths == 0).sum())
    assert found.length == (pytest.approx(lengths[lengths > 0].min()), pytest.approx(lengths[lengths > 0].max()))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    assert found.random_pairs.mean == pytest.approx(np.nanmean(cosines), abs=0.03)
    nearest = np.nanmax(cosines, axis=1)
    if family_pool.chunks <= 1000:  # all were asked for
        assert found.nearest.mean == pytest.approx(nearest[lengths > 0].mean(), abs=0.01)
    eigenvalues = np.linalg.eigvalsh(np.cov(vectors[lengths > 0], rowvar=False))
    assert found.effective_dimensions == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-3)


def test_the_recall_of_an_index_is_told(tmp_path):
    texts = [" ".join(words(seed)) for seed in range(300)]
    pool = built(tmp_path, texts, index={"kind": "ivf"})
    index = stats(pool.folder).index
    assert index == pool.description["index"]
    assert 0 < index["recall"] <= 1


def test_one_document_is_enough(tmp_path):
    figures = stats(built(tmp_path, ["one two three four five six seven eight nine ten"]).folder)
    assert (figures.copies.near, figures.vectors.looked_at) == (0.0, 1)
    assert json.dumps(figures.vectors.effective_dimensions) != "NaN"


def test_vectors_of_one_dimension_have_one(tmp_path):
    corpus = write(tmp_path / "corpus.jsonl", [" ".join(words(seed)) for seed in range(6)])
    pool = nextlong.build_pool(corpus, tmp_path / "pool", workers=1, encoder={"name": "lsa", "dimensions": 1})
    found = stats(pool.folder).vectors
    assert found.dimensions == 1
    assert found.effective_dimensions in (0.0, pytest.approx(1.0))


def test_a_pool_indexed_on_a_gpu_is_looked_at_without_one(tmp_path):
    pool = built(tmp_path, [" ".join(words(seed)) for seed in range(20)], index={"kind": "flat"})
    expected = stats(pool.folder)
    description = tmp_path / "pool" / "pool.yaml"
    content = read_description(description)
    content["index"]["kind"] = "cuvs"
    write_description(description, content)
    found = stats(pool.folder)
    assert found.index["kind"] == "cuvs"
    assert (found.copies, found.vectors) == (expected.copies, expected.vectors)
