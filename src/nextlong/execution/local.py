"""The local executor: work on this machine's cores."""

from __future__ import annotations

import os
import queue
import resource
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, as_completed
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from nextlong.errors import NextlongError
from nextlong.execution.executor import ANY_WORKER, Following, Needs, Result
from nextlong.execution.progress import Advance, send_announcements_to, send_progress_to, unwatched, watched_by
from nextlong.execution.run_mark import Mark, held_mark, work_for

# Worker processes that have had nothing to do for this long end; between two stages they stay and keep their models.
IDLE_SECONDS = 120
ORPHAN_POLL_SECONDS = 0.5
# Five files a shard at most: enough for 200,000 shards, some three trillion characters.
MANY_FILES = 1 << 20


def default_workers() -> int:
    """As many workers as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allow_many_open_files() -> None:
    """Raise this process's limit of open files as far as it may: a memory-mapped shard holds one, and there may be many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class LocalExecutor:
    """Processes on this machine; with one worker, this process itself."""

    def __init__(self, workers: int | None = None) -> None:
        allow_many_open_files()
        self.workers = workers or default_workers()

    def map(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        needs: Needs = ANY_WORKER,
    ) -> list[Result]:
        """See :class:`~nextlong.execution.executor.Executor`."""
        workers = min(self.workers, needs.workers or self.workers)
        if min(workers, len(arguments)) <= 1:
            return self._map_here(function, arguments, show)
        return self._map_in_processes(function, arguments, show, workers, needs)[0]

    def map_with_more(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        following: Following,
        needs: Needs = ANY_WORKER,
    ) -> tuple[list[Result], list[Result]]:
        """See :class:`~nextlong.execution.executor.OverlappingExecutor`."""
        workers = min(self.workers, needs.workers or self.workers)
        if workers == 1:
            return self._map_here(function, arguments, show), []
        return self._map_in_processes(function, arguments, show, workers, needs, following)

    def _map_here(
        self, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], show: Advance
    ) -> list[Result]:
        with watched_by(show):
            return [function(*each) for each in arguments]

    def _map_in_processes(
        self,
        function: Callable[..., Result],
        arguments: Sequence[tuple[Any, ...]],
        show: Advance,
        workers: int,
        needs: Needs,
        following: Following | None = None,
    ) -> tuple[list[Result], list[Result]]:
        # loky rather than concurrent.futures: it needs no `if __name__ == "__main__"` in a user's script, reports a
        # killed worker instead of hanging, and sets the libraries' thread counts before they are imported.
        from loky import get_reusable_executor
        from loky.process_executor import BrokenProcessPool

        threads, reports = str(max(1, default_workers() // workers)), _reports()
        pool = get_reusable_executor(
            max_workers=workers,
            timeout=IDLE_SECONDS,
            env={"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
            initializer=_begin_worker,
            initargs=(reports, os.getpid(), str(Path.cwd())),
        )
        stop = threading.Event()
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        listener = threading.Thread(target=_listen, args=(reports, show, events.put, stop), daemon=True)
        listener.start()
        try:
            mark = held_mark(needs.shared)
            futures = [pool.submit(_in_run, mark, function, *each) for each in arguments]
            submit = partial(pool.submit, _quietly, mark, function)
            more = [] if following is None else _more(submit, futures, workers, events, following)
            for future in as_completed([*futures, *more]):
                future.result()
            return [future.result() for future in futures], [future.result() for future in more]
        except BaseException as error:
            pool.shutdown(wait=True, kill_workers=True)
            # Who was killed while it wrote to the queue keeps the queue's lock: later workers would wait for it for ever.
            _reports.cache_clear()
            if not isinstance(error, BrokenProcessPool | CancelledError):
                raise
            raise NextlongError(
                "A worker process was killed, most often because the machine ran out of memory.",
                "Run the same command again: what is finished is kept. Fewer --workers need less memory.",
            ) from error
        finally:
            stop.set()
            listener.join()


def _more(
    submit: Callable[..., Future[Result]],
    futures: Sequence[Future[Result]],
    workers: int,
    events: queue.SimpleQueue[Any],
    following: Following,
) -> list[Future[Result]]:
    """Until all ``futures`` are done, give idle workers what follows from announcements; returns what was submitted."""
    more: list[Future[Result]] = []
    waiting: deque[tuple[Any, ...]] = deque()
    for future in futures:
        future.add_done_callback(events.put)
    wanted = set(futures)
    working = len(futures)
    while wanted:
        event = events.get()
        if isinstance(event, _Announced):
            waiting.extend(following(event.message))
        else:
            working -= 1
            wanted.discard(event)
            event.result()  # a failure ends everything at once
        while wanted and waiting and working < workers:
            future = submit(*waiting.popleft())
            future.add_done_callback(events.put)
            more.append(future)
            working += 1
    return more


def _in_run(mark: Mark | None, function: Callable[..., Result], *arguments: Any) -> Result:
    """A call by a worker, for the run that left this mark."""
    work_for(mark)
    return function(*arguments)


def _quietly(mark: Mark | None, function: Callable[..., Result], *arguments: Any) -> Result:
    """A call whose progress belongs to a stage that is not shown yet."""
    with unwatched():
        return _in_run(mark, function, *arguments)


@cache
def _reports() -> Any:
    """The queue from the workers: one for this process, so that workers and their models live from call to call."""
    from loky.backend import get_context

    return get_context("loky").Queue()


def _begin_worker(reports: Any, parent: int, folder: str) -> None:
    # A terminal sends Ctrl-C to all processes. The first one ends the others; they would tell of it in tracebacks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Workers outlive a call; tasks may name relative paths, so other workers serve another working directory.
    os.chdir(folder)
    allow_many_open_files()
    send_progress_to(reports.put)
    send_announcements_to(lambda message: reports.put(_Announced(message)))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this worker soon after its parent was killed, so that it does not work beside the next run."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_POLL_SECONDS)
    os._exit(1)


@dataclass(frozen=True)
class _Announced:
    """Tells an announcement from an amount, on the way from a worker."""

    message: Any


def _listen(reports: Any, show: Advance, hear: Callable[[Any], None], stop: threading.Event) -> None:
    while True:
        try:
            report = reports.get(timeout=0.1)
        except queue.Empty:
            if stop.is_set():
                return
            continue
        if isinstance(report, _Announced):
            hear(report)
        else:
            show(report)
