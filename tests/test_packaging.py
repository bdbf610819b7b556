"""The wheel holds the whole package and its promises: types, licence, command, no torch."""

from __future__ import annotations

import email
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nextlong

REPOSITORY = Path(__file__).parent.parent
# None of these may come with the core or the development environment: gigabytes, and rarely the build one needs.
HEAVY = re.compile(r"^(torch|transformers|sentence-transformers|nvidia-|triton|tensorflow|jax)", re.IGNORECASE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(REPOSITORY), "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    if importlib.util.find_spec("hatchling"):  # else pip fetches it from the package index
        command.append("--no-build-isolation")
    built = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [path for path in wheel.namelist() if path.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_the_wheel_holds_every_module_and_the_type_marker(wheel: zipfile.ZipFile) -> None:
    source = REPOSITORY / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    packed = set(wheel.namelist())
    assert modules <= packed
    assert "nextlong/py.typed" in packed
    assert not [name for name in packed if not name.startswith(("nextlong/", "nextlong-"))]


def test_the_metadata_says_what_it_is(wheel: zipfile.ZipFile) -> None:
    said = email.message_from_string(metadata(wheel, "METADATA"))
    assert (said["Name"], said["Version"]) == ("nextlong", nextlong.__version__)
    assert said["Requires-Python"] == ">=3.10"
    assert said["License-Expression"] == "Apache-2.0"
    assert set(said.get_all("Provides-Extra") or []) >= {"dev", "eval", "hf", "minilm", "ray", "train"}
    assert "nextlong = nextlong.cli.main:main" in metadata(wheel, "entry_points.txt")


def test_neither_core_nor_development_asks_for_torch(wheel: zipfile.ZipFile) -> None:
    needs = email.message_from_string(metadata(wheel, "METADATA")).get_all("Requires-Dist") or []
    assert [need for need in needs if "extra" not in need]
    extras = "|".join(("dev", "hf", "minilm"))
    for need in needs:
        if "extra" not in need or re.search(rf"extra == ['\"]({extras})['\"]", need):
            assert not HEAVY.match(need), need


def test_weights_are_pinned_by_hash() -> None:
    for path in (REPOSITORY / "requirements").glob("*.txt"):
        whole = path.read_text(encoding="utf-8").replace("\\\n    ", "")
        lines = [line for line in whole.splitlines() if line and not line.startswith("#")]
        # What runs in users' environments is pinned by hash; the readers that only tests use are pinned by version.
        pinned = r"[\w.-]+==[\w.]+" if path.name.startswith("reader-") else r"[\w.-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+"
        assert lines and all(re.fullmatch(pinned, line) for line in lines), path


def test_importing_the_package_loads_nothing_heavy() -> None:
    source = "import sys, nextlong; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "nextlong" in loaded
    assert loaded.isdisjoint({"numpy", "pyarrow", "faiss", "sklearn", "tokenizers", "onnxruntime", "torch", "pydantic"})


def test_make_offers_what_the_readme_names() -> None:
    for target in ("demo", "test", "lint"):
        done = subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_version_is_in_the_changelog() -> None:
    assert f"## [{nextlong.__version__}]" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
