"""The same corpus and options give the same bytes, however many workers there are and in which order they finish."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import (
    DIMENSIONS,
    GRANULARITY,
    LENGTH,
    SHARD_TOKENS,
    contents,
    leftovers,
    receipts,
    train_tokenizer,
    write_corpus,
)

from nextlong.config import DatasetConfig, PoolConfig, validated
from nextlong.dataset import layout
from nextlong.dataset.synthesize import synthesize_from
from nextlong.execution.local import LocalExecutor
from nextlong.execution.progress import Quiet
from nextlong.index import protocol
from nextlong.pool.build import build
from nextlong.pool.pool import Pool

WORKERS = (1, 2, 4)
ROOTS = 12  # in three batches of SHARD_TOKENS
SHARD_VECTORS = 60  # so that an index has three shards

# For each index the datasets made from its pool, in this order.
DATASETS = {
    "flat": {
        "plain": {},
        "paper": {"composition": {"mode": "paper"}},
        "random": {"mining": {"negatives": "random"}, "seed": 3},
    },
    "ivf": {
        "reuse": {"mining": {"max_reuse": 2}},
        "text": {"format": "jsonl", "composition": {"position": "random"}},
    },
}


def make_pool(index: str, executor: LocalExecutor) -> Pool:
    """A pool of ``corpus``, by relative paths, so that runs in several folders differ in nothing."""
    sections = {
        "corpus": {"inputs": ("corpus",)},
        "chunking": {"granularity": GRANULARITY},
        "encoder": {"name": "lsa", "dimensions": DIMENSIONS},
        "index": {"kind": index},
    }
    return build(validated(PoolConfig, sections, "the test"), Path(f"{index}-pool"), executor, Quiet())


def make_dataset(pool: Pool, name: str, executor: LocalExecutor) -> None:
    """A dataset of that name in DATASETS, beside the pool."""
    index = pool.config.index.kind
    keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": "tokenizer", **DATASETS[index][name]}
    folder = Path(f"{index}-{name}")
    synthesize_from(pool, validated(DatasetConfig, keys, "the test"), folder, executor, Quiet())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Number of workers → the folder of everything that they made. All read the same corpus files."""
    given = tmp_path_factory.mktemp("given")
    corpus = write_corpus(given / "corpus", files=5, documents=8)
    tokenizer = train_tokenizer(corpus, given / "tokenizer")
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
        patch.setattr(protocol, "SHARD_VECTORS", SHARD_VECTORS)
        for workers in WORKERS:
            folders[workers] = tmp_path_factory.mktemp(f"workers-{workers}") / "run"
            folders[workers].mkdir()
            (folders[workers] / "corpus").symlink_to(corpus, target_is_directory=True)
            (folders[workers] / "tokenizer").symlink_to(tokenizer, target_is_directory=True)
            patch.chdir(folders[workers])
            executor = LocalExecutor(workers)  # one for all, so that its processes start once
            for index, names in DATASETS.items():
                pool = make_pool(index, executor)
                for name in names:
                    make_dataset(pool, name, executor)
            assert leftovers(folders[workers]) == []
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS[1:])
def test_workers_do_not_change_a_byte(made, workers):
    expected, found = contents(made[1]), contents(made[workers])
    assert found.keys() == expected.keys()
    assert [path for path in expected if found[path] != expected[path]] == []
    assert receipts(made[workers]) == receipts(made[1])


def test_there_was_something_to_compare(made):
    """Several shards and batches, every kind of file: else the comparison says little."""
    paths = contents(made[1])
    for part in ("documents", "chunks", "vectors", "fingerprints", "tokens"):
        assert sum(path.startswith(f"flat-pool/{part}/") for path in paths) >= 5
    shards = [path for path in paths if path.startswith("ivf-pool/index/") and path.endswith(".vectors.npy")]
    assert len(shards) == 3
    for dataset in (f"{index}-{name}" for index, names in DATASETS.items() for name in names):
        for part in ("neighbours", "wanted", "sequences", "tokens"):
            assert sum(path.startswith(f"{dataset}/{part}/") for path in paths) >= 3
        assert {f"{dataset}/README.md", f"{dataset}/dataset.yaml", f"{dataset}/plan.json"} <= paths.keys()


def test_the_order_of_datasets_does_not_change_them(made, monkeypatch, tmp_path):
    """What another dataset has put into the pool's token store before must not show."""
    monkeypatch.setattr(layout, "SHARD_TOKENS", SHARD_TOKENS)
    monkeypatch.setattr(protocol, "SHARD_VECTORS", SHARD_VECTORS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").symlink_to(made[1] / "corpus", target_is_directory=True)
    (tmp_path / "tokenizer").symlink_to(made[1] / "tokenizer", target_is_directory=True)
    executor = LocalExecutor(1)
    pool = make_pool("flat", executor)
    for name in reversed(DATASETS["flat"]):
        make_dataset(pool, name, executor)
    for name in DATASETS["flat"]:
        expected, found = (
            {path: value for path, value in contents(folder / f"flat-{name}").items() if path != "dataset.yaml"}
            for folder in (made[1], tmp_path)
        )
        assert found == expected
