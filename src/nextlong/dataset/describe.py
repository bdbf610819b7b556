"""What is said about a finished dataset: ``dataset.yaml`` for programs, ``README.md`` for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import nextlong
from nextlong.composition.registry import method_class, method_code, method_package
from nextlong.composition.session import Session
from nextlong.config import DatasetConfig, config_hash
from nextlong.dataset import layout
from nextlong.dataset.card_shape import DATASET, EXPORT
from nextlong.dataset.compose import COUNTED
from nextlong.dataset.markdown import code, code_block
from nextlong.errors import NextlongError
from nextlong.execution.files import atomic, read_description, write_description
from nextlong.execution.object_path import located, recorded
from nextlong.execution.run import Run
from nextlong.execution.shapes import require
from nextlong.execution.tasks import Receipt
from nextlong.formats.registry import FORMATS, hub_configs
from nextlong.pool.pool import Pool
from nextlong.sizes import format_length

_PAPER = "[NExtLong](https://arxiv.org/abs/2501.12766) (Gao et al., ICML 2025)"

# What a mask between the parts of a sequence would do, with meta-chunks and without.
_MASKS = (
    "A mask between the chunks of a sequence would mask\naway the training signal.",
    "A mask between the documents of a sequence would\nleave nothing long to learn from.",
)

# What stands in a span, with meta-chunks and without.
_SPANS = (
    "its root document and its spans; `role` is `meta` or\n`negative`, `document` and `position` name the chunk, `chunk` is "
    "its number in the pool, `group` the meta-chunk it stands\nwith, and `rank` and `score` tell how similar it is to that "
    "meta-chunk.",
    "its first document (`root`), what its documents have in\ncommon where the method says (`topic`), and its spans; `role` "
    "is `document`, `document` and `position` name the chunk,\n`chunk` is its number in the pool, `group` the document's "
    "number in the sequence, and `rank` and `score` tell how similar\nit is to what it was found for, where something was "
    "searched.",
)

# Ranks at which the summary gives the mean similarity.
_SHOWN_RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def describe(run: Run, session: Session, planned: Receipt, composed: Sequence[Receipt], written: Sequence[Receipt]) -> None:
    """Write ``README.md``, then ``dataset.yaml``, which makes the dataset finished."""
    content = _description(session, planned, composed, written)
    with atomic(run.folder / layout.CARD) as temporary:
        temporary.write_text(card(content, session), encoding="utf-8")
    write_description(run.folder / layout.DESCRIPTION, content)


def load_dataset_card(folder: str | Path) -> dict[str, Any]:
    """What ``dataset.yaml`` says: configuration, counts, figures.

    Raises:
        NextlongError: there is no finished dataset in the folder.
    """
    path = located(folder) / layout.DESCRIPTION
    if not path.exists():
        raise NextlongError(f"{folder} holds no finished dataset.", "Make it with: nextlong synthesize POOL --out FOLDER …")
    content = read_description(path)
    require(content, EXPORT if "kind" in content else DATASET, path)
    return content


def _description(
    session: Session, planned: Receipt, composed: Sequence[Receipt], written: Sequence[Receipt]
) -> dict[str, Any]:
    pool, tokenizer = session.pool(), session.joiner().tokenizer
    passed_over: Counter[str] = Counter()
    for receipt in composed:
        passed_over.update(receipt.info["passed_over"])
    sequences = sum(receipt.rows for receipt in composed)
    counts = {name: sum(receipt.info[name] for receipt in composed) for name in COUNTED}
    name = session.config.composition.method
    checksums = [receipt.checksums() for receipt in (*composed, *written)]
    return {
        "id": config_hash(checksums),
        "nextlong": nextlong.__version__,
        "config": session.config.model_dump(mode="json"),
        "method": {"code": method_code(name), "package": method_package(name) or f"nextlong {nextlong.__version__}"},
        "tokenizer": {
            "name": tokenizer.name,
            "fingerprint": tokenizer.fingerprint,
            "vocabulary_size": tokenizer.vocabulary_size,
            "bos_id": session.bos[0] if session.bos else None,
            "eos_id": session.eos[0] if session.eos else None,
            "reversible": tokenizer.reversible,
            "exact_joins": session.joiner().exact,
        },
        "pool": {"id": pool.id, "folder": _shown_folder(session), "config": pool.description["config"]},
        "counts": {"sequences": sequences, "tokens": sequences * session.config.length, **counts},
        "similarity_by_rank": _similarity_by_rank(composed),
        "candidates_passed_over": {name: amount for name, amount in passed_over.items() if amount},
        "documents_passed_over": planned.info["documents_passed_over"],
    }


def _shown_folder(session: Session) -> str:
    """The pool's folder: relative to the dataset's when it lies inside, so that both can be moved together."""
    pool, folder = session.pool().folder.resolve(), session.folder.resolve()
    return pool.relative_to(folder).as_posix() if pool.is_relative_to(folder) else str(pool)


def pool_folder(folder: Path, card: dict[str, Any]) -> Path:
    """Where the pool of the dataset in ``folder`` lies, as far as its description knows."""
    return recorded(folder, str(card["pool"]["folder"]))


def right_pool(pool: Path, identity: str, folder: Path, hint: str) -> Pool:
    """Open a pool, if it is the one that something was made from.

    Args:
        pool: its folder.
        identity: the id of the pool that it was made from.
        folder: what was made from it.
        hint: what to do if it is another.

    Raises:
        NextlongError: it is another, or no pool.
    """
    opened = Pool(pool)
    if opened.id != identity:
        raise NextlongError(
            f"The pool in {opened.folder} is not the one that {folder} was made from: it was changed since, or is another.",
            hint,
        )
    return opened


def _similarity_by_rank(composed: Sequence[Receipt]) -> dict[int, float]:
    totals = np.sum([receipt.info["rank_scores"] for receipt in composed], axis=0)
    return {
        rank: round(float(totals[rank - 1][0] / totals[rank - 1][1]), 4)
        for rank in _SHOWN_RANKS
        if rank <= len(totals) and totals[rank - 1][1]
    }


def _counted_parts(counts: dict[str, int]) -> str:
    """Rows of the card's table: what sequences consist of."""
    with_meta = {"meta_chunks": "meta-chunks", "negatives": "negatives"}
    names = with_meta if counts["meta_chunks"] else {"documents": "documents, counted in each sequence"}
    return "\n".join(f"| {shown} | {counts[name]:,} |" for name, shown in names.items())


def _background(name: str) -> str:
    """Where the method comes from."""
    if package := method_package(name):
        return f"The method is brought by the package {package}."
    return f"The method is that of {_PAPER}." if name == "nextlong" else f"A method to compare with {_PAPER}."


def card(content: dict[str, Any], session: Session) -> str:
    """The dataset card: YAML front matter that the Hugging Face hub reads, then what a person wants to know."""
    config: DatasetConfig = session.config
    form, counts, tokenizer = FORMATS[config.format], content["counts"], content["tokenizer"]
    front = {
        "license": config.license,
        "tags": list(dict.fromkeys(["long-context", "nextlong", config.composition.method])),
        **hub_configs(config.format, layout.TOKENS),
    }
    sources = content["pool"]["config"]["corpus"]["inputs"]
    listed = [f"- {code(source)}" for source in sources[:20]]
    if len(sources) > len(listed):
        listed.append(f"- … and {len(sources) - len(listed):,} more, listed in `dataset.yaml`")
    columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in form.COLUMNS.items())
    method, whole = method_class(config.composition.method), not counts["meta_chunks"]
    begin, end = ("none" if tokenizer[key] is None else tokenizer[key] for key in ("bos_id", "eos_id"))
    separator = config.composition.separator.encode("unicode_escape").decode()
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---

# {counts["sequences"]:,} sequences of {format_length(config.length)} tokens by the method {config.composition.method}

Made by nextlong {content["nextlong"]}. What a sequence is: {method.SUMMARY}.
{_background(method.NAME)}

**Train on all tokens with full causal attention inside a sequence.** {_MASKS[whole]}

| | |
|---|---|
| sequences | {counts["sequences"]:,} |
| tokens | {counts["tokens"]:,} |
{_counted_parts(counts)}
| tokens wasted | {counts["tokens_wasted"]:,} (cut off or left over from documents that were taken up) |
| tokenizer | {code(tokenizer["name"])}, {tokenizer["vocabulary_size"]:,} tokens |
| begin, end token | {begin}, {end} |
| separator | {code(separator)} |
| seed | {config.seed} |

## Load

```python
{form.LOADING.format(folder="FOLDER")}
```

## Columns

| column | content |
|---|---|
{columns}

`sequences/*.parquet` is the canonical table: for each sequence {_SPANS[whole]}
`token_start` and `token_end` say where it stands in the row. So every training token can be traced to its document.
`nextlong verify` proves all of it.

## Sources

{chr(10).join(listed)}

Licence: {code(config.license)}. The sources decide the licence; set it with `--license`.

## Configuration

{code_block(yaml.safe_dump({"pool": content["pool"]["config"], "dataset": content["config"]}, sort_keys=False), "yaml")}
"""
