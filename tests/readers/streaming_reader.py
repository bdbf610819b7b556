"""Reads MDS with MosaicML's StreamingDataset; see environments.py.

streaming_reader.py read FOLDER              every row in order, the order of a shuffled epoch, batches as ProLong makes them
streaming_reader.py download FOLDER LOCAL    ids of rows, fetched from FOLDER to LOCAL with hashes compared, up to an error
streaming_reader.py rewrite FOLDER OTHER     whether the package's own writer makes the same shard, and the same index of it
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

# What ProLong's training scripts allow a device.
MOST_TOKENS = 524288


def without(name: str, *members: str) -> None:
    """Let a module be imported that is not installed. The package names these for images and text, and needs none here."""
    for end in range(1, name.count(".") + 2):
        part = ".".join(name.split(".")[:end])
        if part not in sys.modules:
            module = ModuleType(part)
            module.__spec__, module.__path__ = ModuleSpec(part, None, is_package=True), []
            sys.modules[part] = module
    for member in members:
        setattr(sys.modules[name], member, type(member, (), {}))


without("torchvision.datasets", "VisionDataset")
without("torchvision.transforms.functional", "to_tensor")
without("transformers.feature_extraction_utils", "BatchFeature")
without("transformers.tokenization_utils_base", "BatchEncoding")
without("transformers.models.auto.tokenization_auto", "AutoTokenizer")

import torch  # noqa: E402
from streaming import MDSWriter, StreamingDataset  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402


def plain(row):
    arrays = {name: row[name].tolist() for name in ("indices", "input_ids")}
    return {**row, **arrays, "dtypes": [row[name].dtype.name for name in arrays]}


def collate(rows):
    """The sequences of a batch one after the other, with their lengths, and labels without each one's first token."""
    tokens, labels, lengths = [], [], []
    left = MOST_TOKENS
    for row in rows:
        goals = torch.tensor(row["input_ids"], dtype=torch.long)
        for start, end in row["indices"]:
            end = start + min(end - start, left)
            tokens.append(torch.tensor(row["input_ids"][start:end], dtype=torch.long))
            goals[start] = -100
            labels.append(goals[start:end])
            lengths.append(end - start)
            left -= end - start
    return {"input_ids": torch.cat(tokens), "labels": torch.cat(labels), "lengths": torch.tensor(lengths, dtype=torch.long)}


def read(folder):
    rows = StreamingDataset(local=folder, shuffle=False, batch_size=1)
    found = {"length": len(rows), "rows": [plain(row) for row in rows]}
    del rows
    shuffled = StreamingDataset(local=folder, shuffle=True, shuffle_seed=3, batch_size=1)
    found["epochs"] = [[row["id"] for row in shuffled] for _ in range(2)]
    del shuffled
    rows = StreamingDataset(local=folder, shuffle=False, batch_size=2)
    loader = DataLoader(rows, batch_size=2, num_workers=1, collate_fn=collate)
    found["batches"] = [{name: tensor.tolist() for name, tensor in batch.items()} for batch in loader]
    return found


def download(folder, local):
    rows = StreamingDataset(remote=folder, local=local, shuffle=False, batch_size=1, validate_hash="xxh3_64")
    ids = []
    for number in range(len(rows)):  # a thread would fetch for an iterator, and what it raises goes to stderr alone
        try:
            ids.append(rows[number]["id"])
        except ValueError as error:
            return {"ids": ids, "error": str(error)}
    return {"ids": ids, "error": None}


def rewrite(folder, other):
    index = json.loads(Path(folder, "index.json").read_text())
    (shard,) = index["shards"]
    columns = dict(zip(shard["column_names"], shard["column_encodings"], strict=True))
    rows = StreamingDataset(local=folder, shuffle=False, batch_size=1)
    with MDSWriter(columns=columns, out=other, hashes=shard["hashes"], size_limit=None) as writer:
        for row in rows:
            writer.write(row)
    (path,) = Path(other).glob("*.mds")
    own = Path(other, "index.json").read_text().replace(path.name, shard["raw_data"]["basename"])
    same = path.read_bytes() == Path(folder, shard["raw_data"]["basename"]).read_bytes()
    return {"same_shard": same, "index": json.loads(own) == index}


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    print(json.dumps({"read": read, "download": download, "rewrite": rewrite}[mode](*arguments)))
