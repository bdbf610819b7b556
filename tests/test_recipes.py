"""Every recipe loads, explains all its keys, and makes a dataset of a small corpus when its size is overridden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from small_corpus import write_corpus, write_tokenizer
from typer.testing import CliRunner

import nextlong
from nextlong.cli.main import app
from nextlong.config import load_recipe

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    write_corpus(folder / "corpus")
    write_tokenizer(folder / "tokenizer")
    return folder


def test_the_promised_recipes_are_there() -> None:
    assert {path.stem for path in RECIPES} >= {"demo", "paper-64k", "paper-128k", "paper-512k"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_every_key_does(path: Path) -> None:
    load_recipe(path)
    for line in path.read_text(encoding="utf-8").splitlines():
        sets_a_value = re.match(r"\s*\w+: *[^\s#]", line)
        if sets_a_value and "method: nextlong" not in line:
            assert re.search(r" # \S", line), f"{path.name}: no comment in {line!r}"


@pytest.mark.parametrize("length", [64, 128, 512])
def test_the_papers_recipes_are_the_papers_data(length: int) -> None:
    recipe = load_recipe(next(path for path in RECIPES if path.stem == f"paper-{length}k"))
    assert recipe.dataset.length == length * 1024
    assert recipe.pool.chunking.chunker == "paper" and recipe.pool.chunking.granularity == 2048
    composition = recipe.dataset.composition
    assert (composition.mode, composition.position) == ("paper", "head")
    assert (composition.characters_per_token, composition.oversampling) == (4.0, 1.5)
    assert recipe.dataset.tokens is not None and recipe.dataset.tokens % recipe.dataset.length == 0


def test_the_parts_of_the_512k_mix_share_a_pool_and_make_500_steps() -> None:
    by_name = {path.stem: load_recipe(path) for path in RECIPES}
    short, long = by_name["paper-64k"], by_name["paper-512k"]
    assert short.pool == long.pool
    rows = (short.dataset.tokens or 0) // 2**19, (long.dataset.tokens or 0) // 2**19
    assert sum(rows) == 500 * 16 and abs(rows[0] - 2 * rows[1]) <= 1


def test_the_demo_recipe_is_what_the_demo_does() -> None:
    recipe = load_recipe(next(path for path in RECIPES if path.stem == "demo"))
    defaults = yaml.safe_load("{pool: {corpus: {inputs: [demo]}}, dataset: {length: 128K, tokens: 4M}}")
    expected = type(recipe).model_validate(defaults)
    assert recipe.pool == expected.pool
    assert recipe.dataset.model_copy(update={"tokenizer": None, "license": "unknown"}) == expected.dataset


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_on_a_small_corpus(path: Path, workshop: Path) -> None:
    pool, data = workshop / f"{path.stem}-pool", workshop / f"{path.stem}-data"
    recipe = ["--recipe", str(path), "--workers", "1", "--quiet"]
    encoder = ["--encoder", "lsa", "--dimensions", "16"]
    small = ["--length", "2K", "--tokens", "12K", "--tokenizer", str(workshop / "tokenizer")]
    commands = (
        ["index", str(workshop / "corpus"), "--out", str(pool), *encoder, "--granularity", "512", *recipe],
        ["synthesize", str(pool), "--out", str(data), *small, *recipe],
    )
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    card = nextlong.load_dataset_card(data)
    assert card["counts"]["sequences"] == 6 and card["counts"]["negatives"] >= 6
    assert (data / "README.md").read_text(encoding="utf-8").count("\n- nextlong\n") == 1  # its tags, each once
    assert card["config"]["composition"]["mode"] == load_recipe(path).dataset.composition.mode
    assert nextlong.verify(data, workers=1).ok


def test_paper_mode_says_how_many_sequences_fell_short(workshop: Path) -> None:
    """With some four characters a token, w = 0.6 is too little text for every root."""
    recipe = workshop / "short.yaml"
    recipe.write_text("dataset: {composition: {mode: paper, oversampling: 0.6, characters_per_token: 4}}", encoding="utf-8")
    pool = ["index", str(workshop / "corpus"), "--out", str(workshop / "pool"), "--encoder", "lsa", "--dimensions", "16"]
    size = ["--length", "4K", "--tokens", "12K", "--tokenizer", str(workshop / "tokenizer"), "--workers", "1"]
    assert CliRunner().invoke(app, [*pool, "--quiet", "--workers", "1"]).exit_code == 0
    source = ["synthesize", str(workshop / "pool"), "--out", str(workshop / "short")]
    result = CliRunner().invoke(app, [*source, *size, "--recipe", str(recipe)])
    assert result.exit_code == 1
    assert re.search(r"fell short of the length in paper mode: [1-9]", result.output)
