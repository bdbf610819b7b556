"""Which chunks are like a meta-chunk: by vectors, by words, or by both; and re-ranked by a language model, if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.config import MiningConfig, config_hash
from nextlong.execution.progress import advance
from nextlong.execution.tasks import Outcome, Task
from nextlong.index import lexical
from nextlong.index.fusion import fused, search_depth
from nextlong.index.lexical import LexicalIndex, build_lexical, load_lexical
from nextlong.mining.nearest import Ask, Nearest
from nextlong.mining.scoring import Scorer, load_scorer, rerank
from nextlong.pool.derived import Derived, read_from
from nextlong.pool.pool import Ordinals, Pool, open_pool

Ranking = tuple[Ordinals, npt.NDArray[np.float32]]

# Texts read from the pool at a time while the index of words is built.
_BATCH = 4096

# Meta-chunks whose candidates' gains are kept, of some 200 bytes: more than the roots of one search have.
_KEPT_GAINS = 4096


def words_index() -> Derived:
    """The BM25 index over a pool's chunks."""
    return Derived("bm25", (lexical.VERSION,), ((_index_tasks, "chunks"),))


def _index_tasks(pool: Pool, folder: Path) -> list[Task]:
    version = config_hash(pool.id, lexical.VERSION)
    return [Task("bm25", "all", index_words, (pool.folder, pool.id, folder), version, {})]


def index_words(pool_folder: Path, pool_id: str, folder: Path) -> Outcome:
    """Write the BM25 index of all chunks of a pool."""
    pool = open_pool(pool_folder, pool_id)

    def texts() -> Iterator[str]:
        for start in range(0, pool.chunks, _BATCH):
            batch = pool.texts(range(start, min(start + _BATCH, pool.chunks)))
            yield from batch
            advance(len(batch))

    build_lexical(texts(), folder)
    return Outcome([folder / name for name in lexical.FILES], pool.chunks)


@lru_cache(maxsize=1)
def _opened(folder: Path, chunks: int) -> LexicalIndex:
    with read_from(folder):
        return load_lexical(folder, chunks)


def open_scorer(name: str) -> Scorer:
    """The scorer of a name; a worker keeps it between its tasks, as long as the model's files are the same."""
    folder = Path(name.partition(":")[2])
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return _loaded(name, tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=1)
def _loaded(name: str, files: tuple[tuple[str, int, int], ...]) -> Scorer:
    return load_scorer(name)


def dense_ask(pool: Pool, metas: Ordinals, depth: int, config: MiningConfig) -> Ask | None:
    """What :func:`most_similar` asks the index of vectors; None where words alone decide, as far as they go."""
    if config.retrieval == "bm25":
        return None
    return Ask(metas, depth if config.retrieval == "dense" else search_depth(depth, pool.chunks))


def most_similar(pool: Pool, metas: Ordinals, depth: int, config: MiningConfig, nearest: Nearest) -> list[Ranking]:
    """The first candidates of each meta-chunk, best first, and their cosine similarities, whatever ranked them.

    A deeper call returns the same candidates first, as long as the index is exact.

    Args:
        pool: where to look.
        metas: chunk ordinals.
        depth: how many for each.
        config: ``retrieval`` says what is similar.
        nearest: answers what is asked of the index of vectors.
    """
    ask = dense_ask(pool, metas, depth, config)
    if ask is None:
        return [
            (row, similarities(pool, meta, row))
            for meta, row in zip(metas.tolist(), _by_words_first(pool, metas, depth, nearest), strict=True)
        ]
    dense = by_vectors(pool, ask, nearest)
    if config.retrieval == "dense":
        return dense
    rankings = zip(metas.tolist(), dense, _by_words(pool, metas, ask.depth), strict=True)
    both = [(meta, fused(chunks, words)[: ask.depth]) for meta, (chunks, _), words in rankings]
    return [(row, similarities(pool, meta, row)) for meta, row in both]


def by_vectors(pool: Pool, ask: Ask, nearest: Nearest) -> list[Ranking]:
    """The nearest chunks of each row of a question, by their vectors, or the farthest."""
    scores, ordinals = nearest.find(ask, pool.vectors, pool.index)
    return [(row[row >= 0], np.float32(ask.sign) * score[row >= 0]) for row, score in zip(ordinals, scores, strict=True)]


def _by_words(pool: Pool, metas: Ordinals, depth: int) -> list[Ordinals]:
    """By BM25: chunks that share a word with the meta-chunk, which may be few."""
    index = _opened(words_index().folder(pool), pool.chunks)
    _, ordinals = index.search(pool.texts(metas), min(depth, pool.chunks))
    return [row[row >= 0] for row in ordinals]


def _by_words_first(pool: Pool, metas: Ordinals, depth: int, nearest: Nearest) -> list[Ordinals]:
    """By BM25; behind the chunks that share a word with the meta-chunk, where these are too few, the others by vectors."""
    found = _by_words(pool, metas, depth)
    short = [place for place, row in enumerate(found) if len(row) < depth]
    if short:
        for place, (others, _) in zip(short, by_vectors(pool, Ask(metas[short], depth), nearest), strict=True):
            found[place] = np.concatenate([found[place], others[~np.isin(others, found[place])]])[:depth]
    return found


def similarities(pool: Pool, meta: int, chunks: Ordinals) -> npt.NDArray[np.float32]:
    """The cosine similarity of a chunk to others, float32: exact, and rounded once."""
    vectors = pool.vectors.take(np.concatenate([[meta], chunks])).astype(np.float64)
    return np.asarray(vectors[1:] @ vectors[0], dtype=np.float32)


def reranked(pool: Pool, root: int, meta: int, ranking: Ranking, config: MiningConfig) -> Ranking:
    """The first ``scorer_depth`` candidates outside the root document in the order that the scorer gives them.

    Behind them the others follow as they were; chunks of the root document, which are never taken, come last.
    """
    if config.scorer is None:
        return ranking
    chunks, scores = ranking
    others = np.flatnonzero(pool.documents_of(chunks) != root)
    first = others[: config.scorer_depth]
    if not len(first):
        return ranking
    model = open_scorer(config.scorer).fingerprint
    gains = _gains(config.scorer, model, pool.folder, pool.id, meta, tuple(chunks[first].tolist()))
    best = first[rerank(scores[first], gains, config.scorer_keep)]
    own = np.setdiff1d(np.arange(len(chunks)), others)
    order = np.concatenate([best, others[len(first) :], own])
    return chunks[order], scores[order]


@lru_cache(maxsize=_KEPT_GAINS)
def _gains(
    scorer: str, model: str, folder: Path, pool_id: str, meta: int, candidates: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """What the scorer says of candidates, kept: a deeper search for the same meta-chunk begins with the same ones."""
    pool = open_pool(folder, pool_id)
    return open_scorer(scorer).score(pool.texts([meta])[0], pool.texts(candidates))
