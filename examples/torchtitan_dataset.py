r"""A data loader for torchtitan over a nextlong dataset in the format parquet. Needs torchtitan 0.3.

    torchrun --nproc-per-node 8 -m torchtitan.train --module torchtitan_dataset --config llama3_8b \
        --dataloader.dataset-path DATASET --training.seq-len 131072

Each data-parallel rank gets every ``dp_world_size``-th row, and with a checkpoint goes on where it was. torchtitan does not
shift: the label of a token is the next token, and the last token of a row has none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import torch
from parquet_rows import IGNORED, ParquetRows
from torchtitan.components.dataloader import ParallelAwareDataloader
from torchtitan.models.llama3 import config_registry

PASSED_ON = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")  # torchtitan's own options of a loader


class TitanRows(ParquetRows):
    """Rows as torchtitan takes them, without end."""

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        row = super().__getitem__(index % len(self))
        labels = torch.cat([row["labels"][1:], torch.tensor([IGNORED])])
        return {"input": row["input_ids"], "positions": row["position_ids"]}, labels


class TitanDataLoader(ParallelAwareDataloader):
    """What torchtitan builds from ``TitanDataLoader.Config(dataset_path=DATASET)``."""

    @dataclass(kw_only=True, slots=True)
    class Config(ParallelAwareDataloader.Config):
        """Options of the command line; torchtitan turns ``infinite`` off to validate on all rows."""

        infinite: bool = True

    def __init__(
        self, config: Config, dp_rank: int, dp_world_size: int, seq_len: int, local_batch_size: int, **_: Any
    ) -> None:
        rows = TitanRows(config.dataset_path or "data")
        if (length := len(rows[0][1])) != seq_len:
            raise ValueError(f"The rows have {length} tokens: set training.seq_len to {length}.")
        if len(rows) < dp_world_size:
            raise ValueError(f"There are {len(rows)} rows for {dp_world_size} data-parallel ranks.")
        end = sys.maxsize if config.infinite else len(rows) // dp_world_size * dp_world_size  # as many rows for each rank
        others = {name: getattr(config, name) for name in PASSED_ON}
        ours = range(dp_rank, end, dp_world_size)
        super().__init__(rows, dp_rank, dp_world_size, batch_size=local_batch_size, sampler=ours, **others)


def llama3_8b() -> Any:
    """torchtitan's own configuration of that name, on our rows."""
    return replace(config_registry.llama3_8b(), dataloader=TitanDataLoader.Config())
