"""A Ray cluster of several machines: they come and go, have GPUs, lack the folder or the right version."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")

from cluster_calls import placed, slept, wrote
from machines import wait_until

import nextlong
from nextlong.errors import NextlongError
from nextlong.execution.executor import Needs
from nextlong.execution.files import atomic
from nextlong.execution.ray_cluster import RayExecutor
from nextlong.execution.run_mark import MARK, marked, work_for

TASKS, ACTORS = Needs(), Needs(model=True)
# A killed driver's workers end when Ray has seen it; the rest is for a busy machine.
ORPHAN_SECONDS = 30

DRIVER = """
import sys
from pathlib import Path
from cluster_calls import wrote
from nextlong.execution.executor import Needs
from nextlong.execution.ray_cluster import RayExecutor
needs = Needs(model=sys.argv[3] == "actors")
RayExecutor(address=sys.argv[1]).map(wrote, [(Path(sys.argv[2]), 300.0)], lambda amount: None, needs)
"""


def quiet(amount: int) -> None:
    """Where nobody watches."""


def connected(machines, processors: int) -> RayExecutor:
    """An executor, as soon as Ray counts so many processors: machines that were removed are counted for some seconds."""
    wait_until(lambda: RayExecutor(address=machines.address).workers == processors)
    return RayExecutor(address=machines.address)


@pytest.mark.slow
@pytest.mark.parametrize("needs", (TASKS, ACTORS), ids=("tasks", "actors"))
def test_what_a_lost_machine_did_is_done_elsewhere(machines, needs, tmp_path):
    staying, leaving = machines.add(), machines.add()
    executor = connected(machines, 2)
    told = threading.Event()
    remover = threading.Thread(target=lambda: (told.wait(), machines.lose(leaving)))
    remover.start()
    done = 0

    def show(amount: int) -> None:
        nonlocal done
        done += amount
        if done >= 2:
            told.set()

    try:
        assert executor.map(slept, [(0.3, number) for number in range(24)], show, needs) == list(range(24))
        assert told.is_set()
        assert done == 24
    finally:
        remover.join()
        machines.remove(staying)


@pytest.mark.slow
@pytest.mark.parametrize("needs", (TASKS, ACTORS), ids=("tasks", "actors"))
def test_after_an_error_nothing_works_on_on_any_machine(machines, needs, tmp_path):
    here, elsewhere = machines.add(), machines.add()
    executor = connected(machines, 2)
    paths = [tmp_path / "one", tmp_path / "other"]

    def stop(amount: int) -> None:
        if all(path.exists() for path in paths):
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            executor.map(wrote, [(path, 60.0) for path in paths], stop, needs)
        before = [path.read_text() for path in paths]
        time.sleep(0.5)
        assert [path.read_text() for path in paths] == before
    finally:
        machines.remove(here)
        machines.remove(elsewhere)


@pytest.mark.slow
def test_actors_take_a_gpu_each_where_there_are_some(machines):
    without, having = machines.add(), machines.add(processors=3, gpus=2)
    executor = connected(machines, 4)
    assert executor.resources("GPU") == 2
    # One worker is what a model on the GPU of a single machine takes.
    found = executor.map(placed, [()] * 6, quiet, Needs(workers=1, model=True, gpu=True))
    assert {each["CUDA_VISIBLE_DEVICES"] for each in found} == {"0", "1"}
    assert len({each["process"] for each in found}) == 2
    machines.remove(having)
    wait_until(lambda: executor.resources("GPU") == 0)
    (alone,) = executor.map(placed, [()], quiet, Needs(workers=1, model=True, gpu=True))
    assert alone["CUDA_VISIBLE_DEVICES"] == ""
    machines.remove(without)


@pytest.mark.slow
def test_when_the_last_gpu_is_lost_it_is_said_and_the_next_one_is_waited_for(machines):
    staying, having = machines.add(), machines.add(gpus=1)
    executor, found, begun = connected(machines, 2), [], threading.Event()
    said: list[str] = []
    executor.say = said.append
    calls = [(2, number) for number in range(4)]

    def work() -> None:
        found.append(executor.map(slept, calls, lambda amount: begun.set(), Needs(model=True, gpu=True)))

    working = threading.Thread(target=work, daemon=True)
    working.start()
    assert begun.wait(60)
    machines.lose(having)
    wait_until(lambda: "The Ray cluster has no GPUs now: waiting for machines" in said)
    having = machines.add(gpus=1)
    working.join(60)
    assert found == [list(range(4))]
    machines.remove(having)
    machines.remove(staying)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("tasks", "actors"))
def test_workers_of_a_killed_driver_end(machines, kind, tmp_path):
    machine = machines.add()
    path = tmp_path / "times"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, machines.address, path, kind])
    wait_until(path.exists)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    killed = time.time()
    wait_until(lambda: time.time() - path.stat().st_mtime > 2, ORPHAN_SECONDS)
    assert path.stat().st_mtime - killed < ORPHAN_SECONDS
    machines.remove(machine)


def test_an_orphan_puts_nothing_into_the_next_runs_folder(tmp_path):
    """One that lives on where Ray cannot reach it."""
    with marked(tmp_path):
        mine = (tmp_path / MARK, (tmp_path / MARK).read_bytes())
        work_for(mine)
        try:
            with atomic(tmp_path / "first") as temporary:
                temporary.write_text("mine")
            with marked(tmp_path), pytest.raises(NextlongError, match="The run is over"), atomic(tmp_path / "first") as late:
                late.write_text("too late")
        finally:
            work_for(None)
    assert (tmp_path / "first").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "--mount", "true"]).returncode != 0,
    reason="no folder can be hidden from a process on this system",
)
def test_a_machine_that_does_not_see_the_folder_is_named(machines, tmp_path, monkeypatch):
    hidden = tmp_path / "shared"
    (hidden / "pool").mkdir(parents=True)
    machines.add_apart(hidden)
    try:
        executor = connected(machines, 1)
        with marked(hidden / "pool"), pytest.raises(NextlongError, match=f"does not see the folder {hidden}/pool") as caught:
            executor.map(slept, [(0, 1)], quiet, Needs(shared=hidden / "pool" / MARK))
        assert "use a shared file system" in caught.value.hint
        monkeypatch.chdir(hidden / "pool")
        with marked(Path()), pytest.raises(NextlongError, match=f"cannot go to the folder {hidden}/pool: No such file"):
            executor.map(slept, [(0, 1)], quiet, Needs(shared=Path(MARK)))
    finally:
        machines.remove_apart()


@pytest.mark.slow
@pytest.mark.parametrize("needs", (TASKS, ACTORS), ids=("tasks", "actors"))
def test_another_version_on_a_machine_is_named(machines, needs, tmp_path):
    package = Path(nextlong.__file__).parent
    shutil.copytree(package, tmp_path / "nextlong", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "nextlong" / "__init__.py"
    module.write_text(module.read_text().replace(f'__version__ = "{nextlong.__version__}"', '__version__ = "0.0.1"'))
    machine = machines.add(environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"})
    executor = connected(machines, 1)
    with pytest.raises(NextlongError, match=f"has nextlong 0.0.1, and the command was run with {nextlong.__version__}"):
        executor.map(slept, [(0, 1)], quiet, needs)
    machines.remove(machine)


@pytest.mark.slow
@pytest.mark.parametrize("needs", (TASKS, ACTORS), ids=("tasks", "actors"))
def test_a_machine_without_nextlong_is_said(machines, needs, tmp_path):
    (tmp_path / "nextlong.py").write_text('raise ModuleNotFoundError("No module named \'nextlong\'", name="nextlong")\n')
    machine = machines.add(environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"})
    executor = connected(machines, 1)
    with pytest.raises(NextlongError, match="has no nextlong, or another version of it"):
        executor.map(slept, [(0, 1)], quiet, needs)
    machines.remove(machine)
