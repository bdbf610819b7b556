"""One corpus, and all that is made of it, step by step, always in the same place; and how to tell whether it is the same."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from launched import Launched, Launcher
from small_runs import LENGTH, POOL_OPTIONS, contents, leftovers, receipts

ROOTS = 12  # in three batches of small_runs.SHARD_TOKENS

_TOKENS = ("--length", str(LENGTH), "--roots", str(ROOTS), "--tokenizer", "tokenizer", "--quiet")
_PACKED = ("--length", str(2 * LENGTH), "--quiet")


def synthesize(out: str, *more: str) -> tuple[str, ...]:
    """The words of a command that makes a dataset from the pool."""
    return ("synthesize", "pool", "--out", out, *_TOKENS, *more)


# What is made, each from what stands before it.
WORKS: dict[str, tuple[str, ...]] = {
    "pool": ("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--index", "ivf", "--quiet"),
    "data": synthesize("data"),
    "documents": synthesize("documents", "--method", "knn"),
    "export": ("export", "data", "--out", "export", "--format", "mds", *_PACKED),
    "mix": ("mix", "data:2", "documents:1", "--out", "mix", "--format", "numpy", *_PACKED),
}
START, END = "corpus", "mix"
# How people call the commands.
CALLED = {
    "pool": "`index`",
    "data": "`synthesize`",
    "documents": "`synthesize --method knn`",
    "export": "`export`",
    "mix": "`mix`",
}


def before(name: str) -> str:
    """What stands before a work."""
    names = [START, *WORKS]
    return names[names.index(name) - 1]


@dataclass(frozen=True)
class Place:
    """The one folder where everything runs: descriptions hold its path, so what is compared has to be made in it.

    Attributes:
        folder: it.
        states: a copy of it as it is after each work.
        expected: what :func:`everything` is then.
        launcher: starts runs.
    """

    folder: Path
    states: Path
    expected: dict[str, dict[str, object]]
    launcher: Launcher

    def restore(self, name: str) -> Path:
        """Make it what it is after a work; returns the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return Path(shutil.copytree(self.states / name, self.folder, symlinks=True))

    def keep(self, name: str) -> None:
        """Remember what it is after a work."""
        shutil.rmtree(self.states / name, ignore_errors=True)
        shutil.copytree(self.folder, self.states / name, symlinks=True)
        self.expected[name] = everything(self.folder)

    @staticmethod
    def with_faults(inside: dict[str, str]) -> dict[str, str]:
        """An environment in which every Python that is started has the faults of ``inside/sitecustomize.py``."""
        path = [str(Path(__file__).parent / "inside"), os.environ.get("PYTHONPATH", "")]
        return {**inside, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def start(self, arguments: tuple[object, ...], **faults: object) -> Launched:
        """Start a command."""
        return self.launcher.start(*arguments, cwd=self.folder, **faults)

    def run(self, *arguments: object, **faults: object) -> Launched:
        """Run a command to its end, with one worker unless it says otherwise."""
        workers = () if "--workers" in arguments else ("--workers", 1)
        return self.launcher.finished(*arguments, *workers, cwd=self.folder, **faults)

    def succeed(self, *arguments: object, **faults: object) -> None:
        """Run a command that must end well and say nothing."""
        run = self.run(*arguments, **faults)
        assert (run.code(), run.said()) == (0, ""), (arguments, run.said())

    def fail(self, *arguments: object, code: int = 1, **faults: object) -> str:
        """Run a command that must end with a clear error; what it says."""
        run = self.run(*arguments, **faults)
        assert run.code() == code, (arguments, run.said())
        return clear_error(run.said())

    def found(self) -> dict[str, object]:
        """:func:`everything` as it is now."""
        return everything(self.folder)

    def same_as(self, name: str, but_for: str = "nothing") -> None:
        """All is what it was after that work, byte for byte, and nothing else lies there; but for paths that begin so."""
        found, expected = self.found(), self.expected[name]
        differ = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
        assert not [path for path in differ if not path.startswith(but_for)], differ
        assert leftovers(self.folder) == []

    def verified(self, *names: str) -> None:
        """``verify`` finds nothing wrong with these works."""
        for name in names:
            self.succeed("verify", name, "--quiet")


def clear_error(said: str) -> str:
    """What a command says that failed: an error for people, with what to do."""
    first, *hints = said.strip().splitlines()
    assert first.startswith("error: "), said
    assert hints and hints[-1].startswith("  "), said
    assert "Traceback" not in said, said
    return said


def everything(folder: Path) -> dict[str, object]:
    """All files that must be the same on every run, and all receipts but their times."""
    return {**contents(folder), **receipts(folder)}


def make_all(place: Place) -> None:
    """Make all works, undisturbed, in a place that has a corpus and a tokenizer."""
    place.keep(START)
    for name, arguments in WORKS.items():
        place.succeed(*arguments)
        place.keep(name)
    place.verified(*WORKS)
