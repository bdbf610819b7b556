"""What lies where in a dataset folder."""

from __future__ import annotations

DESCRIPTION = "dataset.yaml"  # written last: a dataset without it is not finished
CARD = "README.md"
UNITS = "units"
SEARCH = "search"  # what was found in each shard of an index, until sequences are composed
NEIGHBOURS = "neighbours"
WANTED = "wanted"
SEQUENCES = "sequences"
TOKENS = "tokens"
MADE = (UNITS, SEARCH, NEIGHBOURS, WANTED, SEQUENCES, TOKENS)  # by the tasks of `nextlong synthesize`
POOL = "pool"  # of a dataset made straight from a corpus

# A shard of sequences holds about this many tokens: 64 rows of 128K. It is what a task makes and a kill can lose.
SHARD_TOKENS = 1 << 23


def sequences_per_shard(length: int) -> int:
    """How many sequences of ``length`` tokens make a shard."""
    return max(1, SHARD_TOKENS // length)
