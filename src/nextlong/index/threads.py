"""Threads of an index: how many, and who starts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count(threads: int | None = None) -> int:
    """How many threads to use: ``threads``, else ``OMP_NUM_THREADS``, else the processors that this process may use."""
    if threads is not None:
        return max(1, threads)
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def row_threads(threads: int) -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], list[Result]]]:
    """A ``map`` over parts of the work, for NumPy code, which releases the interpreter lock.

    BLAS gets one thread each meanwhile: so the comparisons between two matrix products run in parallel too, and an
    error in one part is raised.
    """
    with _controller().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield lambda function, items: list(pool.map(function, items))


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Run FAISS with this many threads and always with matrix products, and set it back afterwards."""
    import faiss

    before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(threads)
    # For fewer than 500 queries of 256 dimensions FAISS 1.15 would take one vector after the other: 16 times slower.
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before[0])
        faiss.cvar.distance_compute_blas_threshold = before[1]


@lru_cache(maxsize=1)
def _controller() -> Any:
    # Looks through all libraries of the process, which takes milliseconds, so once.
    return ThreadpoolController()
