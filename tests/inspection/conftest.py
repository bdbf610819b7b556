"""Datasets of several methods from one pool, to be looked at."""

from __future__ import annotations

import pytest

import nextlong

LENGTH = 2048
METHODS = ("nextlong", "standard", "knn")


@pytest.fixture(scope="session")
def looked_at(family_pool, tokenizer_folder, tmp_path_factory):
    """Folders of datasets, by method."""
    folder = tmp_path_factory.mktemp("looked-at")
    for method in METHODS:
        keys = {"length": LENGTH, "roots": 12, "tokenizer": tokenizer_folder, "workers": 1, "seed": 3}
        nextlong.synthesize(family_pool, folder / method, composition={"method": method}, **keys)
    return {method: folder / method for method in METHODS}
