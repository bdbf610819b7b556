"""A PyTorch dataset over the rows of a nextlong dataset in the format parquet. Needs torch and pyarrow."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

IGNORED = -100  # the label without a loss, of PyTorch's cross-entropy and so of every trainer built on it


@lru_cache(maxsize=1)  # rows that follow each other share the one row group in memory, about 4M tokens
def read_group(path: Path, group: int) -> pa.Table:
    """The tokens and borders of a row group."""
    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=["input_ids", "indices"])


class ParquetRows(torch.utils.data.Dataset):
    """Rows of exactly T tokens: ``input_ids``, ``labels`` (not shifted) and ``position_ids``, each int64 of shape ``(T,)``.

    There is no padding and no attention mask. Positions begin anew at each sequence of a row, and from that a trainer knows
    that attention stays within it. The first token of a sequence that follows another in its row is not predicted from it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.groups, self.firsts = [], [0]
        for path in sorted(Path(folder, "tokens").glob("*.parquet")):
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                self.groups.append((path, group))
                self.firsts.append(self.firsts[-1] + metadata.row_group(group).num_rows)
        if not self.groups:
            raise FileNotFoundError(f"{folder}/tokens has no .parquet files: is {folder} a dataset in the format parquet?")

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        group = bisect_right(self.firsts, index) - 1
        row = read_group(*self.groups[group]).slice(index - self.firsts[group], 1)  # IndexError beyond both ends
        pairs = row["indices"][0].as_py()
        ids = torch.tensor(row["input_ids"][0].values.to_numpy(), dtype=torch.long)
        labels = ids.clone()
        labels[[start for start, _ in pairs[1:]]] = IGNORED
        return {"input_ids": ids, "labels": labels, "position_ids": torch.cat([torch.arange(e - s) for s, e in pairs])}
