"""What the tests of faults share: the place where everything runs, the program that starts runs, and the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_table import write_table
from launched import Launcher
from small_runs import train_tokenizer, write_corpus
from works import Place, make_all


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--all-faults", action="store_true", help="make all faults, not only some of each kind")
    group.addoption("--fault-table", type=Path, help="the document that gets the table of faults")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    document = session.config.getoption("--fault-table", None)
    if document is not None and exitstatus == pytest.ExitCode.OK:
        write_table(document)


@pytest.fixture(scope="session")
def all_faults(request: pytest.FixtureRequest) -> bool:
    """Whether all faults are made, which takes minutes."""
    return bool(request.config.getoption("--all-faults", False))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The place where everything was made once, undisturbed."""
    folder = tmp_path_factory.mktemp("faults")
    for name in ("run", "states", "streams"):
        (folder / name).mkdir()
    train_tokenizer(write_corpus(folder / "run" / "corpus"), folder / "run" / "tokenizer")
    launcher = Launcher(folder / "streams", folder / "run" / "tokenizer")
    place = Place(folder / "run", folder / "states", {}, launcher)
    make_all(place)
    yield place
    launcher.close()
