"""Ten times the chunks: time for each to build the pool and its index, and time and memory to make as much data from it."""

from __future__ import annotations

from pools import Built, large_pool, small_pool
from watched import Watched, nextlong_command, watched

from measures.figures import Bench, Figure

MOST_GROWTH = 1.5
MOST_MEMORY_GROWTH = 1.2
GIB = 1 << 30
LENGTH, TOKENS = "128K", "4M"
SMOKE_LENGTH, SMOKE_TOKENS = "2K", "8K"


def measure(bench: Bench) -> list[Figure]:
    """Ratios of processor time, which other work on the machine disturbs less than wall time, and of memory.

    The data are as many tokens from either pool, so their time is compared as it is and not shared out among the chunks.
    """
    small, large = small_pool(bench), large_pool(bench)
    made = [_synthesized(bench, pool) for pool in (small, large)]
    each = [_pool_seconds(pool) / pool.chunks for pool in (small, large)]
    without_index = [pool.made.processor_seconds / pool.chunks for pool in (small, large)]
    return [
        Figure(
            "processor time for a chunk to build a pool and its index, ten times the chunks, over one time",
            each[1] / each[0],
            MOST_GROWTH,
            "at most",
            "×",
            "; ".join(map(_described, (large, small))) + f"; without the index {without_index[1] / without_index[0]:.2f} ×; "
            "an approximate index of the larger pool, none of the smaller",
        ),
        Figure(
            "processor time of making as much data from ten times the chunks, over one time",
            made[1].processor_seconds / made[0].processor_seconds,
            MOST_GROWTH,
            "at most",
            "×",
            f"{_length_and_tokens(bench)[1]} tokens: "
            + "; ".join(
                f"{pool.chunks:,} chunks: {_seconds(data)}" for pool, data in zip((large, small), made[::-1], strict=True)
            ),
        ),
        Figure(
            "memory of making as much data from ten times the chunks, over one time",
            made[1].peak_bytes / made[0].peak_bytes,
            MOST_MEMORY_GROWTH,
            "at most",
            "×",
            f"{large.chunks:,} chunks: {made[1].peak_bytes / GIB:.2f} GiB; {small.chunks:,}: "
            f"{made[0].peak_bytes / GIB:.2f} GiB; "
            "all processes, without mapped files; an approximate index of the larger pool, none of the smaller",
        ),
    ]


def _length_and_tokens(bench: Bench) -> tuple[str, str]:
    return (SMOKE_LENGTH, SMOKE_TOKENS) if bench.smoke else (LENGTH, TOKENS)


def _synthesized(bench: Bench, pool: Built) -> Watched:
    length, tokens = _length_and_tokens(bench)
    options = ["--length", length, "--tokens", tokens, "--tokenizer", bench.tokenizer, "--quiet"]
    return watched(nextlong_command("synthesize", str(pool.folder), "--out", str(bench.work / str(pool.chunks)), *options))


def _pool_seconds(pool: Built) -> float:
    return pool.made.processor_seconds + pool.indexed.processor_seconds


def _described(pool: Built) -> str:
    return f"{pool.chunks:,} chunks: pool {_seconds(pool.made)}, index {_seconds(pool.indexed)}"


def _seconds(taken: Watched) -> str:
    return f"{taken.processor_seconds:,.0f} s ({taken.seconds:,.0f} s wall)"
