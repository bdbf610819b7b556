"""Memory of building a pool: flat in the corpus, and a pool of a million chunks in 4 GiB."""

from __future__ import annotations

from pools import Built, large_pool, small_pool

from measures.figures import Bench, Figure

MOST_GROWTH = 1.2
MOST_GIB = 4.0
GIB = 1 << 30


def measure(bench: Bench) -> list[Figure]:
    """Peak memory at two sizes, and at the larger one with the index."""
    small, large = small_pool(bench), large_pool(bench)
    whole = max(large.made.peak_bytes, large.indexed.peak_bytes)
    return [
        Figure(
            "memory of a pool, ten times the documents, over one time",
            large.made.peak_bytes / small.made.peak_bytes,
            MOST_GROWTH,
            "at most",
            "×",
            f"{_size(large)}: {large.made.peak_bytes / GIB:.2f} GiB; {_size(small)}: {small.made.peak_bytes / GIB:.2f} GiB; "
            "all processes together, without mapped files and without building the index",
        ),
        Figure(
            "memory of a pool with its index",
            whole / GIB,
            MOST_GIB,
            "at most",
            "GiB",
            f"{_size(large)}; building the index alone: {large.indexed.peak_bytes / GIB:.2f} GiB",
        ),
    ]


def _size(pool: Built) -> str:
    return f"{pool.documents:,} documents, {pool.chunks:,} chunks"
