"""Figures of `dataset.yaml` that no row can tell: `verify` compares them with the receipts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import nextlong
from nextlong.execution.files import write_description


@pytest.fixture(scope="module")
def made(family_pool, tokenizer_folder, tmp_path_factory):
    """A dataset with candidates passed over, and documents."""
    folder = tmp_path_factory.mktemp("made") / "data"
    keys = {"length": 1024, "roots": 6, "tokenizer": tokenizer_folder}
    card = nextlong.synthesize(family_pool, folder, workers=1, **keys)
    assert card["counts"]["tokens_wasted"] and card["candidates_passed_over"] and card["documents_passed_over"]
    assert len(card["similarity_by_rank"]) > 2
    assert nextlong.verify(folder, workers=1).failures == []
    return folder


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("counts", "tokens_wasted"),
        ("counts", "discarded"),
        ("counts", "searched_deeper"),
        ("counts", "tokens"),
        ("counts", "sequences"),
        ("counts", "negatives"),
        ("counts", "meta_chunks"),
        ("counts", "documents"),
        ("candidates_passed_over", None),
        ("candidates_passed_over", "for no reason"),
        ("documents_passed_over", None),
        ("documents_passed_over", "for no reason"),
        ("similarity_by_rank", 2),
        ("similarity_by_rank", 512),
    ],
)
@pytest.mark.parametrize("by", [1, -1])
def test_a_forged_figure(made, tmp_path, section, name, by):
    folder = Path(shutil.copytree(made, tmp_path / "data"))
    card = nextlong.load_dataset_card(folder)
    name = name if name is not None else next(iter(card[section]))
    before = card[section].get(name, 0)
    card[section][name] = before + by
    write_description(folder / "dataset.yaml", card)
    found = [str(failure) for failure in nextlong.verify(folder, workers=1).failures]
    assert len(found) == 1, found
    for words in (str(name).replace("sequences", " sequences"), "dataset.yaml", f"{before + by}"):
        assert words in found[0].replace(",", ""), found


@pytest.mark.parametrize("section", ["candidates_passed_over", "documents_passed_over"])
def test_a_figure_left_out(made, tmp_path, section):
    folder = Path(shutil.copytree(made, tmp_path / "data"))
    card = nextlong.load_dataset_card(folder)
    name, amount = card[section].popitem()
    write_description(folder / "dataset.yaml", card)
    (found,) = nextlong.verify(folder, workers=1).failures
    assert name in found.what and "says 0" in found.what and f"{amount}" in found.what
