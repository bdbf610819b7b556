"""Shared fixtures: a small tokenizer, a corpus of families of documents, its pool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpora import GRANULARITY, make_documents, with_copies, write_corpus

import nextlong
from nextlong.pool import layout
from nextlong.tokenization.train import train_byte_level_bpe

# Files that take minutes are begun first, so that at the end no process is left alone with one.
LONGEST = (
    "test_runs.py",
    "test_method_faults.py",
    "test_s3_runs.py",
    "test_ray_runs.py",
    "test_export_again.py",
    "test_readme.py",
    "test_torch.py",
    "test_s3_on_ray.py",
    "test_ray_machines.py",
    "test_kills.py",
    "test_determinism.py",
    "test_methods_in_place.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _every_source_is_a_task():
    """Small sources are read together; here each is a task of its own, so that small corpora have many tasks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SOURCE_GROUP_BYTES", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_tokens_for_ray():
    """Ray can start with tokens or without, and not both ways in one process; tests start it in several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        yield


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory):
    """A byte-level BPE that knows the words of the corpora in part."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_byte_level_bpe((document["text"] for document in make_documents(60, seed=3)), 700, folder)
    return str(folder)


@pytest.fixture(scope="session")
def family_corpus(tmp_path_factory):
    """JSON Lines of 300 documents: families, and copies of every kind."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", with_copies(make_documents(240, 8)))


@pytest.fixture(scope="session")
def family_pool(family_corpus, tmp_path_factory):
    """The pool of that corpus, exactly indexed."""
    return nextlong.build_pool(
        family_corpus,
        tmp_path_factory.mktemp("pool") / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY},
        encoder={"name": "lsa", "dimensions": 48},
        index={"kind": "flat"},
    )


@pytest.fixture(scope="module")
def machines():
    """A Ray cluster whose head does no work; tests add machines."""
    pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        # As the command sets them in its own process.
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
        # Ray would wait 15 seconds until it believes that a machine is lost.
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        from machines import Machines

        from nextlong.execution import ray_connection

        made = Machines()
        yield made
        ray_connection.disconnect()
        made.shutdown()
