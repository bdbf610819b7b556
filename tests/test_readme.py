"""What the documentation shows runs, and what it names exists.

Every ``sh`` and ``python`` block of these files is executed, in order, in a folder of its own; only a block right after
``<!-- not run: REASON -->`` is not. The commands are those of the text with smaller sizes (``SMALLER``).
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from small_corpus import write_corpus, write_tokenizer

from nextlong.cli.main import app
from nextlong.execution.files import read_description, write_description
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA, NEIGHBOUR_SCHEMA, SCREENED_SCHEMA, SEQUENCE_SCHEMA, SPAN_TYPE

REPOSITORY = Path(__file__).parent.parent
RUN = (
    "README.md",
    "docs/method.md",
    "docs/methods.md",
    "docs/inspection.md",
    "docs/writing-a-method.md",
    "docs/formats.md",
    "docs/trainers.md",
    "docs/footguns.md",
    "docs/object-stores.md",
    "docs/screening.md",
    "docs/cluster.md",
)
TEXTS = (*RUN, "CONTRIBUTING.md", "CHANGELOG.md")

# The documented commands, for a corpus of two files on two busy cores. One worker starts no processes.
SMALLER = (
    (r"--length 128K", "--length 4K"),
    (r"--length 256K", "--length 8K"),
    (r"--length 512K", "--length 16K"),
    (r"--tokens 100M", "--tokens 40K"),
    (r"--tokens 200M", "--tokens 80K"),
    (r'length="128K", tokens="100M"', 'length="4K", tokens="40K", workers=1'),
    (r"--tokenizer \S+", "--tokenizer tokenizer"),
    (r'tokenizer="[^"]+"', 'tokenizer="tokenizer"'),
    (r"nextlong (index|synthesize|verify|export|mix) ", r"nextlong \1 --workers 1 "),
    (r"nextlong index (?!.*--encoder)", "nextlong index --encoder lsa "),
    (r"--encoder lsa", "--encoder lsa --dimensions 16"),
    (r'\.jsonl\.zst", "pool"\)', '.jsonl.zst", "pool", workers=1, encoder={"name": "lsa", "dimensions": 16})'),
    (r"^make (\w+)", rf"make --dry-run --directory '{REPOSITORY}' \1"),  # the tests cannot run themselves
    *([(r"pip install ", "pip install --no-build-isolation ")] if importlib.util.find_spec("hatchling") else []),
)
# Programs for other environments, which documents show whole; tests/readers/test_torch.py runs them.
EXAMPLES = ("hf_trainer.py", "torchtitan_dataset.py")
_BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<source>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    language: str
    source: str
    reason: str | None

    def run(self, folder: Path) -> subprocess.CompletedProcess[str]:
        source = self.source
        for pattern, replacement in SMALLER:
            source = re.sub(pattern, replacement, source, flags=re.M)
        command = [sys.executable, "-c", source] if self.language == "python" else ["bash", "-euo", "pipefail", "-c", source]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # What a `make test` hands down is not for the `make` of a block; and the libraries must not ask the network.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        environment |= {"PATH": path, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "huggingface")}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def blocks(name: str) -> list[Block]:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return [Block(match["language"], match["source"], match["reason"]) for match in _BLOCK.finditer(text)]


def examples() -> list[str]:
    return [(REPOSITORY / "examples" / name).read_text(encoding="utf-8") for name in EXAMPLES]


def run_all(chosen: list[Block], folder: Path) -> list[str]:
    outputs = []
    for block in chosen:
        done = block.run(folder)
        assert done.returncode == 0, f"{block.source}\n{done.stdout}\n{done.stderr}"
        outputs.append(done.stdout)
    return outputs


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    write_corpus(folder / "corpus")
    write_tokenizer(folder / "tokenizer")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    shutil.copytree(REPOSITORY / "examples", folder / "examples")
    return folder


@pytest.fixture(scope="module")
def made(workshop: Path) -> tuple[Path, list[str]]:
    """The folder in which everything of the README was run, and what that printed."""
    return workshop, run_all([block for block in blocks("README.md") if not block.reason], workshop)


@pytest.mark.slow
def test_the_readme_runs_from_top_to_bottom(made: tuple[Path, list[str]]) -> None:
    folder, outputs = made
    assert (folder / "data" / "dataset.yaml").exists()
    assert "nextlong demo --out" in outputs[1]  # make demo
    plan, counts, trace, loaded = outputs[2], outputs[3], outputs[4], outputs[5]
    assert "Plan of a pool" in plan and "the dataset is verified" in plan
    assert re.search(r"'sequences': 10\b.*'tokens': 40960\b", counts)
    assert re.search(r"of document doc-\d+\n\[\{'source': 'corpus/[01].jsonl.zst', 'row': \d+\}\]", trace)
    assert len(loaded.strip(" []\n").split(",")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN[1:])
def test_the_commands_of_a_document_run(name: str, made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder = tmp_path / "work"
    shutil.copytree(made[0], folder)
    chosen = [block for block in blocks(name) if not block.reason]
    path = folder / "data" / "dataset.yaml"  # which names its pool by the folder it was made in
    description = read_description(path)
    write_description(path, {**description, "pool": {**description["pool"], "folder": str(folder / "pool")}})
    outputs = run_all(chosen, folder)
    if name.endswith("footguns.md"):
        (compared,) = [output for output in outputs if "data-copies/dataset.yaml" in output]
        dropped, dropped_if_exact = (int(amount) for amount in re.findall(r"copy: (\d+)", compared))
        assert dropped >= dropped_if_exact > 0  # every tenth document of the corpus is a copy


def test_only_sh_and_python_blocks_are_fenced_and_few_are_not_run() -> None:
    for name in RUN:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        found = blocks(name)
        assert text.count("\n```") == 2 * len(found), f"{name} has a block without a language"
        assert {block.language for block in found} <= {"sh", "python"}
        assert sum(block.reason is not None and block.source not in examples() for block in found) <= 1


def test_the_examples_for_trainers_are_shown_as_they_are() -> None:
    assert [block.source for block in blocks("docs/trainers.md") if block.reason] == examples()


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    path = REPOSITORY / name
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_options_that_are_named_exist(name: str) -> None:
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
    known = {option for command in commands for parameter in command.params for option in parameter.opts}
    known |= {option for command in commands for parameter in command.params for option in parameter.secondary_opts}
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for source in examples():
        text = text.replace(source, "")
    text = re.sub(r"^.*(?:pip|git|pytest|ruff|make|python) .*$", "", text, flags=re.M)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named - known == set()


def test_every_option_of_the_method_is_documented() -> None:
    names = ("docs/method.md", "docs/methods.md")
    text = "".join((REPOSITORY / name).read_text(encoding="utf-8") for name in names)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    panels = {"Size", "Mining", "Composition", "Chunks"}
    elsewhere = {"--length", "--tokenizer", "--format", "--license"}  # in the README and in formats.md
    for parameter in commands["synthesize"].params:
        if getattr(parameter, "rich_help_panel", None) in panels and parameter.opts[0] not in elsewhere:
            assert parameter.opts[0] in text, f"no document of the methods names {parameter.opts[0]}"


def test_every_column_is_documented() -> None:
    text = (REPOSITORY / "docs/formats.md").read_text(encoding="utf-8")
    spans = [field.name for field in SPAN_TYPE]
    for schema in (CHUNK_SCHEMA, DOCUMENT_SCHEMA, NEIGHBOUR_SCHEMA, SEQUENCE_SCHEMA):
        for column in [*schema.names, *spans]:
            assert f"`{column}`" in text, f"docs/formats.md does not describe {column}"
    text = (REPOSITORY / "docs/screening.md").read_text(encoding="utf-8")
    for column in SCREENED_SCHEMA.names:
        assert f"`{column}`" in text, f"docs/screening.md does not describe {column}"
