"""A truncated, a changed, a missing file of every kind: found, never believed, and mended by the command that made it."""

from __future__ import annotations

from pathlib import Path

import pytest
from damage import DAMAGES, KINDS, NEW, Kind, forget
from fault_table import DELETED, ERROR, FOUND, REMADE, UNREAD, counted
from works import WORKS, Place, clear_error, everything

# Some of each, where not all faults are made.
FEW = ("a bit flipped in the middle",)


@pytest.fixture(scope="module")
def undamaged(place) -> dict[tuple[str, ...], dict[str, object]]:
    """Command → what it makes anew."""
    commands = {command for kind in KINDS.values() for _, command in kind.readers if NEW in command}
    made = {}
    for command in commands:
        place.restore("mix")
        place.succeed(*command)
        made[command] = in_folder(everything(place.folder), NEW)
    return made


def damaged(place: Place, kind: Kind, damage: str) -> str:
    """Everything was made, and then a file was damaged; its path."""
    folder = place.restore("mix")
    path = min(folder.glob(kind.path))
    DAMAGES[damage](path)
    return str(path.relative_to(folder))


def is_found(place: Place, kind: Kind, path: str) -> None:
    """`verify` names it, if it looks after files of this kind."""
    run = place.run("verify", kind.owner)
    if kind.data:
        assert run.code() == 1, "verify finds nothing"
        if "/receipts/" in path and not (place.folder / path).exists():
            assert f"FAILED  {path.partition('/')[0]}/" in run.said() and "no task made this file" in run.said(), run.said()
        else:
            assert path in run.said() or path.rpartition("/")[0] in run.said(), run.said()
        assert "Traceback" not in run.said()
    else:
        assert run.code() == 0, run.said()


def is_mended(place: Place, kind: Kind, path: Path, damage: str) -> bool:
    """It is made again; whether without being deleted first: a run looks at sizes, and at what a run itself needs."""
    if damage in ("truncated", "missing") and kind.data:
        before = path.read_bytes() if path.exists() else None
        run = place.run(*WORKS[kind.maker])
        if run.code():
            assert str(path.relative_to(place.folder)) in clear_error(run.said())
        elif path.exists() and path.read_bytes() != before:
            return True
    path.unlink(missing_ok=True)
    place.succeed(*WORKS[kind.maker])
    return False


def is_read(place: Place, kind: Kind, damage: str, undamaged: dict[tuple[str, ...], dict[str, object]]) -> int:
    """Whoever reads it either says so or makes what it makes undamaged; how many said so."""
    errors = 0
    for delete, command in kind.readers:
        path = damaged(place, kind, damage)
        forget(place.folder, delete)
        run = place.run(*command)
        if run.code():
            said = clear_error(run.said())
            assert run.code() in (1, 2)
            assert path in said or path.rpartition("/")[0] in said or path.partition("/")[0] in said, said
            assert not (place.folder / NEW / "dataset.yaml").exists()
            errors += 1
        else:
            out = command[command.index("--out") + 1]
            found = in_folder(everything(place.folder), out)
            wanted = undamaged[command] if out == NEW else in_folder(place.expected["mix"], out)
            own = path.partition("/")[2] if path.startswith(f"{out}/") else None
            differ = {name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)}
            assert differ <= {own}, differ
        counted("damage", f"{damage}: read by new work", ERROR if run.code() else UNREAD)
    return errors


def in_folder(contents: dict[str, object], folder: str) -> dict[str, object]:
    """Contents of a folder in another, by their paths in it."""
    return {path.partition("/")[2]: value for path, value in contents.items() if path.startswith(f"{folder}/")}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KINDS)
def test_damage_is_found_and_never_believed_and_mended(place, undamaged, all_faults, name):
    kind = KINDS[name]
    for damage in DAMAGES if all_faults else FEW:
        path = damaged(place, kind, damage)
        is_found(place, kind, path)
        if kind.data:
            counted("damage", f"{damage}: `verify`", FOUND)
        mended = REMADE if is_mended(place, kind, place.folder / path, damage) else DELETED
        place.same_as("mix", but_for=kind.kept)
        place.verified(kind.owner)
        counted("damage", f"{damage}: the command that made it", mended)
        errors = is_read(place, kind, damage, undamaged)
        if kind.data and kind.readers and damage not in ("truncated", "missing") and "tokens/" not in kind.path:
            assert errors, "nobody has read it"


@pytest.mark.parametrize("format", ["jsonl", "megatron", "parquet"])
def test_damage_of_rows_in_the_other_formats(place, all_faults, format):
    """Nobody but `verify` and trainers reads them."""
    command = ("export", "data", "--out", format, "--format", format, "--quiet")
    place.restore("mix")
    place.succeed(*command)
    place.keep(format)
    of_each_kind = {path.name.partition(".")[2]: path.name for path in (place.folder / format / "tokens").iterdir()}
    for name in of_each_kind.values():
        for damage in DAMAGES if all_faults else FEW:
            place.restore(format)
            path = place.folder / format / "tokens" / name
            DAMAGES[damage](path)
            said = place.run("verify", format).said()
            assert str(path.relative_to(place.folder)) in said and "Traceback" not in said
            path.unlink(missing_ok=True)
            place.succeed(*command)
            place.same_as(format)
            counted("damage", f"{damage}: `verify`", FOUND)
            counted("damage", f"{damage}: the command that made it", DELETED)
