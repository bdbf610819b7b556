"""Time for a chunk in a pool of ten times as many: building the pool and its index, and making a fixed amount of data."""

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
    """The ratio of processor time a chunk, which other work on the machine disturbs less than wall time."""
    small, large = small_pool(bench), large_pool(bench)
    made = [_synthesized(bench, pool) for pool in (small, large)]
    each = [_processor_seconds(pool, data) / pool.chunks for pool, data in zip((small, large), made, strict=True)]
    return [
        Figure(
            "processor time for a chunk, ten times the chunks, over one time",
            each[1] / each[0],
            MOST_GROWTH,
            "at most",
            "×",
            "; ".join(_described(pool, data) for pool, data in zip((large, small), made[::-1], strict=True)),
        ),
        Figure(
            "memory of making data from ten times the chunks, over one time",
            made[1].peak_bytes / made[0].peak_bytes,
            MOST_MEMORY_GROWTH,
            "at most",
            "×",
            f"{large.chunks:,} chunks: {made[1].peak_bytes / GIB:.2f} GiB; {small.chunks:,}: "
            f"{made[0].peak_bytes / GIB:.2f} GiB; "
            "all processes, without mapped files; an approximate index of the larger pool, none of the smaller",
        ),
    ]


def _synthesized(bench: Bench, pool: Built) -> Watched:
    length, tokens = (SMOKE_LENGTH, SMOKE_TOKENS) if bench.smoke else (LENGTH, TOKENS)
    options = ["--length", length, "--tokens", tokens, "--tokenizer", bench.tokenizer, "--quiet"]
    return watched(nextlong_command("synthesize", str(pool.folder), "--out", str(bench.work / str(pool.chunks)), *options))


def _processor_seconds(pool: Built, data: Watched) -> float:
    return pool.made.processor_seconds + pool.indexed.processor_seconds + data.processor_seconds


def _described(pool: Built, data: Watched) -> str:
    parts = {"pool": pool.made, "index": pool.indexed, "data": data}
    taken = ", ".join(f"{name} {each.processor_seconds:,.0f} s ({each.seconds:,.0f} s wall)" for name, each in parts.items())
    return f"{pool.chunks:,} chunks: {taken}"
