"""A data loader for torchtitan over a nextlong dataset in the format parquet. Needs torchtitan 0.3.

    torchrun --nproc-per-node 8 -m torchtitan.train --module torchtitan_dataset --config llama3_8b \\
        --dataloader.dataset-path DATASET --training.seq-len 131072
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from parquet_rows import IGNORED, ParquetRows
from torch.distributed.checkpoint.stateful import Stateful
from torch.utils.data import IterableDataset, get_worker_info
from torchtitan.components.dataloader import ParallelAwareDataloader


class TitanRows(IterableDataset, Stateful):
    """Every ``world``-th row from row ``rank`` on; goes on where it was when a checkpoint is loaded."""

    def __init__(self, rows: ParquetRows, rank: int, world: int, infinite: bool) -> None:
        self.rows, self.rank, self.world, self.infinite, self.given = rows, rank, world, infinite, 0

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        world, rank = self.world * workers, self.rank * workers + number
        share = len(self.rows) // world  # equally many for all, so that no rank waits for another
        if not share:
            raise ValueError(f"There are {len(self.rows)} rows for {world} readers (data-parallel ranks times workers).")
        while True:
            while self.given < share:
                row = self.rows[self.given * world + rank]
                self.given += 1
                # torchtitan does not shift: the label of a token is the next token, and T tokens have T labels.
                labels = torch.cat([row["labels"][1:], torch.tensor([IGNORED])])
                yield {"input": row["input_ids"], "positions": row["position_ids"]}, labels
            self.given = 0
            if not self.infinite:
                return

    def state_dict(self) -> dict[str, Any]:
        """How far this rank is."""
        return {"given": self.given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.given = state_dict["given"]


class TitanDataLoader(ParallelAwareDataloader):
    """What torchtitan's trainer builds from ``TitanDataLoader.Config(dataset_path=DATASET)``."""

    @dataclass(kw_only=True, slots=True)
    class Config(ParallelAwareDataloader.Config):
        """Options, also of the command line."""

        infinite: bool = True

    def __init__(
        self, config: Config, *, dp_world_size: int, dp_rank: int, seq_len: int, local_batch_size: int, **others: Any
    ) -> None:
        rows = ParquetRows(config.dataset_path or "data")
        if (length := len(rows[0]["input_ids"])) != seq_len:
            raise ValueError(f"The rows of {config.dataset_path} have {length} tokens: set training.seq_len to {length}.")
        super().__init__(
            TitanRows(rows, dp_rank, dp_world_size, config.infinite),
            dp_rank=dp_rank,
            dp_world_size=dp_world_size,
            batch_size=local_batch_size,
            snapshot_every_n_steps=others.get("snapshot_every_n_steps"),
            num_workers=config.num_workers,
            persistent_workers=config.persistent_workers,
            pin_memory=config.pin_memory,
            prefetch_factor=config.prefetch_factor,
        )


def llama3_8b() -> Any:
    """torchtitan's own configuration of that name, on our rows."""
    from torchtitan.models.llama3.config_registry import llama3_8b

    config = llama3_8b()
    config.dataloader = TitanDataLoader.Config()
    return config
