"""What is damaged, by whom it is made, and who reads it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from works import WORKS, synthesize

# A work makes this folder when it is run anew to see what reading something damaged does.
NEW = "new"


def again(out: str, *forget: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to delete, so that a work has to be done again from what lies before it; and the command."""
    return tuple(f"{out}/{name}" for name in forget), WORKS[out]


def anew(*arguments: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nothing to delete, and the command."""
    return (), arguments


OTHER = anew(*synthesize(NEW, "--seed", "1"))
OTHER_KNN = anew(*synthesize(NEW, "--method", "knn", "--seed", "1"))
ROWS_ANEW = anew("export", "data", "--out", NEW, "--format", "jsonl", "--quiet")
MIXED_ANEW = anew("mix", "data:1", "--out", NEW, "--format", "jsonl", "--length", "1K", "--quiet")


def _index_again(*stages: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """As if `index` had been killed before these stages."""
    return again("pool", "pool.yaml", *(f"receipts/{stage}" for stage in stages))


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        path: a pattern of it; the first is taken.
        owner: the work whose folder it lies in, which `verify` is asked about.
        maker: the work that makes it.
        readers: what reads it for new work: what to delete first, and the command.
        data: whether `verify` looks after it. Else it is for people only.
    """

    path: str
    owner: str
    maker: str
    readers: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    data: bool = True

    @property
    def kept(self) -> str:
        """Where there may be less after it was made again: a pool keeps tokens also of chunks looked at in vain."""
        return "pool/tokens/" if self.path.startswith("pool/tokens/") else "nothing"


KINDS: dict[str, Kind] = {
    "documents": Kind(
        "pool/documents/*.arrow", "pool", "pool", (_index_again("catalog"), _index_again("embed"), OTHER, ROWS_ANEW)
    ),
    "chunks": Kind(
        "pool/chunks/*.arrow",
        "pool",
        "pool",
        (_index_again("fingerprint"), _index_again("fit"), _index_again("embed"), OTHER, ROWS_ANEW, MIXED_ANEW),
    ),
    "fingerprints: keys": Kind("pool/fingerprints/*.keys.npy", "pool", "pool", (OTHER,)),
    "fingerprints: signatures": Kind("pool/fingerprints/*.signatures.npy", "pool", "pool", (OTHER,)),
    "vectors": Kind("pool/vectors/*.npy", "pool", "pool", (_index_again("index"), OTHER, OTHER_KNN)),
    "catalog: first chunks": Kind("pool/catalog/first_chunk.npy", "pool", "pool", (_index_again("fit"), OTHER, ROWS_ANEW)),
    "catalog: keys": Kind("pool/catalog/keys.npy", "pool", "pool", (OTHER,)),
    "catalog: repeated ids": Kind("pool/catalog/repeated.arrow", "pool", "pool", (OTHER,)),
    "catalog: shards": Kind("pool/catalog/shards.json", "pool", "pool", (_index_again("fit"), OTHER, ROWS_ANEW)),
    "encoder": Kind("pool/encoder/fitted", "pool", "pool", (_index_again("embed"),)),
    "index: centroids": Kind("pool/index/centroids.npy", "pool", "pool", (_index_again("fill"), OTHER)),
    "index: vectors": Kind("pool/index/*.vectors.npy", "pool", "pool", (_index_again("index"), OTHER)),
    "index: ordinals": Kind("pool/index/*.ordinals.npy", "pool", "pool", (_index_again("index"), OTHER)),
    "index: starts": Kind("pool/index/*.starts.npy", "pool", "pool", (_index_again("index"), OTHER)),
    "checksums": Kind("pool/checksums.json", "pool", "pool", (OTHER, ROWS_ANEW)),
    "pool.yaml": Kind("pool/pool.yaml", "pool", "pool", (OTHER, ROWS_ANEW)),
    "plan of a pool": Kind("pool/plan.json", "pool", "pool", (anew(*WORKS["pool"]), OTHER)),
    "receipt of a pool": Kind("pool/receipts/embed/*.json", "pool", "pool", (anew(*WORKS["pool"]), OTHER)),
    "token store": Kind("pool/tokens/*/*.arrow", "pool", "data", (again("data", "receipts/write"), OTHER, ROWS_ANEW)),
    "receipt of the token store": Kind("pool/tokens/*/receipts/*/*.json", "pool", "data", (OTHER, ROWS_ANEW)),
    "derived: document vectors": Kind("pool/derived/*/0*.npy", "pool", "documents", (OTHER_KNN,)),
    "derived: their index": Kind("pool/derived/*/index.json", "pool", "documents", (OTHER_KNN,)),
    "derived: shard of it": Kind("pool/derived/*/index/*.vectors.npy", "pool", "documents", (OTHER_KNN,)),
    "derived: a receipt": Kind("pool/derived/*/receipts/vectors/*.json", "pool", "documents", (OTHER_KNN,)),
    "units": Kind("data/units/*.arrow", "data", "data", (again("data", "receipts/mine"), anew(*WORKS["data"]))),
    "neighbours": Kind("data/neighbours/*.arrow", "data", "data", (again("data", "receipts/compose"),)),
    "wanted": Kind("data/wanted/*.npy", "data", "data", (again("data", "receipts/compose"), anew(*WORKS["data"]))),
    "sequences": Kind(
        "data/sequences/*.parquet",
        "data",
        "data",
        (again("data", "receipts/write"), anew(*WORKS["data"]), ROWS_ANEW, MIXED_ANEW),
    ),
    "rows: parquet": Kind("data/tokens/*.parquet", "data", "data", (ROWS_ANEW,)),
    "plan of a dataset": Kind("data/plan.json", "data", "data", (anew(*WORKS["data"]), ROWS_ANEW)),
    "dataset.yaml": Kind("data/dataset.yaml", "data", "data", (ROWS_ANEW, MIXED_ANEW)),
    "receipt of a dataset": Kind("data/receipts/compose/*.json", "data", "data", (anew(*WORKS["data"]), ROWS_ANEW)),
    "card": Kind("data/README.md", "data", "data", (anew(*WORKS["data"]), ROWS_ANEW), data=False),
    "metrics": Kind("data/metrics.jsonl", "data", "data", (again("data", "receipts/write"), ROWS_ANEW), data=False),
    "gathered": Kind("export/gathered/*.arrow", "export", "export", (again("export", "receipts/rows", "rows"),)),
    "rows of an export": Kind("export/rows/*.parquet", "export", "export", (again("export", "receipts/write", "tokens"),)),
    "rows: mds": Kind("export/tokens/*.mds", "export", "export"),
    "index of mds": Kind("export/tokens/index.json", "export", "export"),
    "rows: numpy": Kind("mix/tokens/*.npy", "mix", "mix"),
    "borders of numpy": Kind("mix/tokens/*.csv.gz", "mix", "mix"),
    "receipt of a mix": Kind("mix/receipts/rows/*.json", "mix", "mix", (anew(*WORKS["mix"]),)),
}


def cut(path: Path) -> None:
    """Leave the first half."""
    replaced(path, path.read_bytes()[: path.stat().st_size // 2])


def flipped(place: float) -> Callable[[Path], None]:
    """Another bit, so far into the file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1 << 3
        replaced(path, bytes(content))

    return flip


def deleted(path: Path) -> None:
    """Not there."""
    path.unlink()


def replaced(path: Path, content: bytes) -> None:
    """Put another file into its place: one process may have the old one mapped."""
    path.unlink()
    path.write_bytes(content)


def forget(folder: Path, names: tuple[str, ...]) -> None:
    """Delete files and folders."""
    for name in names:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": cut,
    "a bit flipped in the middle": flipped(0.5),
    "missing": deleted,
    "a bit flipped at the start": flipped(0.02),
    "a bit flipped at the end": flipped(0.98),
}
