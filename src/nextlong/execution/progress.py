"""Progress of a stage: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from nextlong.public_text import printable, redacted
from nextlong.sizes import format_count, format_seconds

# Where there is no terminal, one line in so many seconds tells that the work goes on, and keeps logs readable.
LINE_SECONDS = 30.0

Advance = Callable[[int], None]


def _ignore(amount: int) -> None:
    """Where nobody watches."""


_sink: Advance = _ignore


def advance(amount: int) -> None:
    """Called by a task's function: so many more of the stage's units are done."""
    _sink(amount)


def send_progress_to(sink: Advance) -> None:
    """Set where :func:`advance` reports to, in this process."""
    global _sink
    _sink = sink


@contextmanager
def watched_by(sink: Advance) -> Iterator[None]:
    """Within it, :func:`advance` reports there, in this process."""
    before = _sink
    send_progress_to(sink)
    try:
        yield
    finally:
        send_progress_to(before)


def unwatched() -> AbstractContextManager[None]:
    """Within it, :func:`advance` reports to nobody."""
    return watched_by(_ignore)


def _unheard(message: Any) -> None:
    """Where nobody listens."""


_listener: Callable[[Any], None] = _unheard


def announce(message: Any) -> None:
    """Called by a task's function: something is there with which other work could begin. Nobody may be listening."""
    _listener(message)


def send_announcements_to(listener: Callable[[Any], None]) -> None:
    """Set where :func:`announce` reports to, in this process."""
    global _listener
    _listener = listener


class Progress(Protocol):
    """Shows how far a stage is."""

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """A context manager around one stage; its value takes the amounts done. ``total`` None: not known."""
        ...

    def say(self, line: str) -> None:
        """One line for people."""
        ...


class Quiet:
    """Shows nothing."""

    @contextmanager
    def _quiet(self) -> Iterator[Advance]:
        yield _ignore

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """See :class:`Progress`."""
        return self._quiet()

    def say(self, line: str) -> None:
        """See :class:`Progress`."""


class Shown:
    """A bar per stage on a terminal, plain lines elsewhere; to standard error."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr)

    def say(self, line: str) -> None:
        """See :class:`Progress`."""
        self.console.print(
            printable(redacted(line), lines=False), highlight=False, markup=False, emoji=False, soft_wrap=True
        )

    def stage(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        """See :class:`Progress`."""
        return self._bar(name, total, unit) if self.console.is_terminal else self._lines(name, total, unit)

    @contextmanager
    def _bar(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]} {task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        started, done = time.monotonic(), 0
        with RichProgress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(name, total=total, unit=unit, rate="")

            def show(amount: int) -> None:
                nonlocal done
                done += amount
                progress.update(task, completed=done, rate=_rate(done, time.monotonic() - started))

            yield show
        self._finished(name, done, unit, time.monotonic() - started)

    @contextmanager
    def _lines(self, name: str, total: int | None, unit: str) -> Iterator[Advance]:
        started, shown, done = time.monotonic(), time.monotonic(), 0

        def show(amount: int) -> None:
            nonlocal done, shown
            done += amount
            now = time.monotonic()
            if now - shown >= LINE_SECONDS:
                shown = now
                share = f" of {total:,} ({done / total:.0%})" if total else ""
                left = f", {format_seconds((now - started) * (total - done) / done)} left" if total and done else ""
                self.say(f"{name:<12} {done:,}{share} {unit}, {_rate(done, now - started)}{left}")

        yield show
        self._finished(name, done, unit, time.monotonic() - started)

    def _finished(self, name: str, done: int, unit: str, seconds: float) -> None:
        if done:
            self.say(finished_line(name, done, unit, seconds))


def finished_line(name: str, done: int, unit: str, seconds: float) -> str:
    """What is said of a stage that is done."""
    return f"{name:<12} {done:,} {unit} in {format_seconds(seconds)} ({_rate(done, seconds)})"


def _rate(amount: int, seconds: float) -> str:
    return f"{format_count(amount / max(seconds, 1e-9))}/s"
