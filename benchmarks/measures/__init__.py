"""What `benchmarks/targets.py` measures: one module for each area, with ``measure(bench) -> list[Figure]``."""
