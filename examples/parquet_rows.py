"""A PyTorch dataset over the rows of a nextlong dataset in the format parquet. Needs torch and pyarrow."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
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
        self.groups, counts = [], []
        for path in sorted(Path(folder, "tokens").glob("*.parquet")):
            metadata = pq.read_metadata(path)
            self.groups += [(path, group) for group in range(metadata.num_row_groups)]
            counts += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        if not counts:
            raise FileNotFoundError(f"{folder}/tokens has no .parquet files: is {folder} a dataset in the format parquet?")
        self.firsts = [0, *accumulate(counts)]

    def __len__(self) -> int:
        return self.firsts[-1]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self.firsts, index) - 1
        table = read_group(*self.groups[group]).slice(index - self.firsts[group], 1)
        pairs = table["indices"][0].as_py()
        ids = torch.tensor(table["input_ids"][0].values.to_numpy(), dtype=torch.long)
        labels = ids.clone()
        labels[[start for start, _ in pairs[1:]]] = IGNORED
        position_ids = torch.cat([torch.arange(end - start) for start, end in pairs])
        return {"input_ids": ids, "labels": labels, "position_ids": position_ids}
