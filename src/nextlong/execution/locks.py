"""Locks on folders: a file lock on this machine, an object with a heartbeat in an object store."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nextlong.errors import NextlongError
from nextlong.execution import object_store
from nextlong.execution.object_path import ObjectPath
from nextlong.execution.object_store import Place
from nextlong.execution.run_mark import marked

LOCK = ".lock"

# A holder writes its object this often; one that has not for the longer time is dead. Both are measured by each process's
# own clock that only runs forward, so clocks that differ or jump do no harm.
HEARTBEAT_SECONDS = 5.0
DEAD_AFTER_SECONDS = 30.0
_POLL_SECONDS = 1.0

_WAITING = "{folder} is held by another process: waiting until that is done with it"


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(folder: Path, wait: bool, say: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a folder's lock, and leave a mark in it (:mod:`~nextlong.execution.run_mark`).

    Args:
        folder: there, if on this machine.
        wait: whether to wait for another process that holds it.
        say: told when there is something to wait for: another process, or, to find out whether it lives, some seconds.

    Raises:
        Busy: another process holds it, and ``wait`` is not given.
        OSError: the folder cannot be written.
    """
    if isinstance(folder, ObjectPath):
        with _object_lock(folder, wait, say), marked(folder):
            yield
        return
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        if not wait:
            raise Busy from error
        if say:
            say(_WAITING.format(folder=folder))
        lock.acquire(timeout=-1)
    try:
        with marked(folder):
            yield
    finally:
        lock.release()


@contextmanager
def _object_lock(folder: ObjectPath, wait: bool, say: Callable[[str], None] | None) -> Iterator[None]:
    """Turns are numbered objects, each created by exactly one process; the highest one's creator holds the lock.

    A holder that ends says so in its object. When one has died, the next process creates the next number: creating is
    atomic, so of several that wait one succeeds, and a holder that was only asleep sees that it has lost its turn.
    """
    turn = _taken(folder, wait, say)
    stop, lost = threading.Event(), threading.Event()
    beat = threading.Thread(target=_beat, args=(folder, turn, stop, lost), daemon=True)
    beat.start()
    try:
        yield
        if lost.is_set() or _is_over(folder, turn):
            raise NextlongError(
                f"This process stood still for so long that another one took over {folder}.",
                "Wait for that one to end, and run the same command again.",
            )
    finally:
        stop.set()
        beat.join()
        if not lost.is_set():
            object_store.write(_turn(folder, turn), _content(released=True))


def _turns(folder: ObjectPath) -> list[int]:
    return sorted(int(path.name) for path in (folder / LOCK).iterdir() if path.name.isdecimal())


def _is_over(folder: ObjectPath, turn: int) -> bool:
    """Whether a later turn was taken; the very next one may be over, too, and removed."""
    return _turns(folder)[-1:] > [turn]


def _taken(folder: ObjectPath, wait: bool, say: Callable[[str], None] | None) -> int:
    seen, since, said = (0, ""), time.monotonic(), say is None
    while True:
        turns = _turns(folder)
        last = turns[-1] if turns else 0
        content = (object_store.read(_turn(folder, last)) or b"").decode() if last else ""
        if (last, content) != seen:
            if seen[0] == last and not wait and last:
                raise Busy  # it has just shown that it lives
            seen, since = (last, content), time.monotonic()
        dead = time.monotonic() - since > DEAD_AFTER_SECONDS
        if not last or dead or json.loads(content or "{}").get("released"):
            if object_store.create(_turn(folder, last + 1), _content()):
                if object_store.create(_turn(folder, last + 1), _content()):
                    raise NextlongError(
                        f"The store of {folder} writes an object although it is there, so runs could not be kept apart.",
                        "Use a store with conditional writes (If-None-Match), or a folder.",
                    )
                for old in turns[:-1]:  # the last one stays until the next, so that no number is given twice
                    object_store.remove(_turn(folder, old))
                return last + 1
            continue
        if say and not said:
            seeing = f"{folder} is held by another process; waiting up to {DEAD_AFTER_SECONDS:.0f} s to see whether it lives"
            say(_WAITING.format(folder=folder) if wait else seeing)
            said = True
        time.sleep(_POLL_SECONDS)


def _beat(folder: ObjectPath, turn: int, stop: threading.Event, lost: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if _is_over(folder, turn):
                lost.set()
                return
            object_store.write(_turn(folder, turn), _content())
        except NextlongError:
            continue  # a store that cannot be reached just now: the work itself finds out


def _turn(folder: ObjectPath, number: int) -> Place:
    place: Place = (folder / LOCK / f"{number:08d}").place
    return place


def _content(released: bool = False) -> bytes:
    holder = {"host": socket.gethostname(), "process": os.getpid(), "beat": uuid.uuid4().hex, "released": released}
    return json.dumps(holder).encode()
