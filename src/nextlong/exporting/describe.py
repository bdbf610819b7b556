"""What is said about a finished export: ``dataset.yaml`` for programs, ``README.md`` for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

import nextlong
from nextlong.config import MixConfig, config_hash
from nextlong.dataset import layout
from nextlong.dataset.markdown import code, code_block
from nextlong.execution.files import atomic, write_description
from nextlong.execution.run import Run
from nextlong.execution.tasks import Receipt
from nextlong.exporting.parts import Source
from nextlong.exporting.request import Request
from nextlong.exporting.rows import Taken
from nextlong.formats.registry import FORMATS, hub_configs
from nextlong.sizes import format_length


def describe(
    run: Run,
    request: Request,
    gathered: Sequence[Sequence[Receipt]],
    taken: Sequence[Taken],
    made: Sequence[Receipt],
    written: Sequence[Receipt],
) -> None:
    """Write ``README.md``, then ``dataset.yaml``, which makes the export finished."""
    session = request.sources[0].session
    tokenizer = session.joiner().tokenizer
    rows = [sum(row.part == source.number for row in taken) for source in request.sources]
    parts = [
        _part(request, source, receipts, amount, run.folder)
        for source, receipts, amount in zip(request.sources, gathered, rows, strict=True)
    ]
    counted = ("used", "too_short", "left_over", "tokens_wasted", "meta_chunks_cut")
    totals = {name: sum(part["counts"][name] for part in parts) for name in counted}
    pools = {part["pool"]["id"]: part["pool"] for part in parts}
    content = {
        "id": config_hash([receipt.checksums() for receipt in (*made, *written)]),
        "kind": request.kind,
        "nextlong": nextlong.__version__,
        "config": _config(request),
        "tokenizer": {
            "name": tokenizer.name,
            "fingerprint": tokenizer.fingerprint,
            "vocabulary_size": tokenizer.vocabulary_size,
            "bos_id": tokenizer.bos_id if any(source.session.bos for source in request.sources) else None,
            "eos_id": tokenizer.eos_id if any(source.session.eos for source in request.sources) else None,
            "reversible": tokenizer.reversible,
            "exact_joins": all(source.session.joiner().exact for source in request.sources),
        },
        "pool": next(iter(pools.values())) if len(pools) == 1 else None,  # else each part names its own
        "parts": parts,
        "counts": {
            "rows": len(taken),
            "sequences": totals["used"],
            "tokens": len(taken) * request.length,
            "dropped": totals["too_short"] + totals["left_over"],
            "tokens_wasted": totals["tokens_wasted"],
            "meta_chunks_cut": totals["meta_chunks_cut"],
        },
    }
    with atomic(run.folder / layout.CARD) as temporary:
        temporary.write_text(card(content), encoding="utf-8")
    write_description(run.folder / layout.DESCRIPTION, content)


def _part(request: Request, source: Source, receipts: Sequence[Receipt], rows: int, folder: Path) -> dict[str, Any]:
    pool, per_row = source.session.pool(), request.per_row[source.number]
    info = {name: sum(receipt.info[name] for receipt in receipts) for name in ("short", "tokens_wasted", "meta_chunks_cut")}
    return {
        "name": source.name,
        "weight": source.weight,
        "dataset": {"id": source.id, "folder": _shown(source.folder, folder)},
        "config": source.config.model_dump(mode="json"),
        "pool": {"id": pool.id, "folder": _shown(pool.folder, folder), "config": pool.description["config"]},
        "retokenized": source.retokenized,
        "sequence_length": source.length,
        "sequences_per_row": per_row,
        "counts": {
            "sequences": source.sequences,
            "rows": rows,
            "used": rows * per_row,
            "too_short": info["short"],
            "left_over": source.sequences - info["short"] - rows * per_row,
            "tokens_wasted": info["tokens_wasted"],
            "meta_chunks_cut": info["meta_chunks_cut"],
        },
    }


def _shown(path: Path, folder: Path) -> str:
    """A path, relative to the export's folder where it lies inside, so that both can be moved together."""
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _config(request: Request) -> dict[str, Any]:
    config, mixed = request.config, isinstance(request.config, MixConfig)
    return {
        "parts": [{"dataset": str(source.folder.resolve()), "weight": source.weight} for source in request.sources],
        "length": request.length,
        "tokens": config.tokens if isinstance(config, MixConfig) else None,
        "seed": config.seed if isinstance(config, MixConfig) else None,
        "order": "drawn" if mixed else "as in the dataset",
        "tokenizer": request.sources[0].session.tokenizer,
        "format": config.format,
        "dtype": config.dtype,
        "merge": config.merge,
        "license": config.license or _license([source.config.license for source in request.sources]),
    }


def _license(licenses: Sequence[str]) -> str:
    return licenses[0] if len(set(licenses)) == 1 else "other"


def card(content: dict[str, Any]) -> str:
    """The data card: YAML front matter that the Hugging Face hub reads, then what a person wants to know."""
    config, counts, tokenizer, parts = (content[name] for name in ("config", "counts", "tokenizer", "parts"))
    form = FORMATS[config["format"]]
    methods = [part["config"]["composition"]["method"] for part in parts]
    front = {
        "license": config["license"],
        "tags": list(dict.fromkeys(["long-context", "nextlong", *methods])),
        **hub_configs(config["format"], layout.TOKENS),
    }
    packed = any(part["sequences_per_row"] > 1 for part in parts)
    table = "\n".join(
        f"| {code(part['name'])} | {part['config']['composition']['method']} | {format_length(part['sequence_length'])} "
        f"| {part['sequences_per_row']} | {part['weight']:g} | {part['counts']['rows']:,} | {part['counts']['used']:,} "
        f"| {part['counts']['too_short'] + part['counts']['left_over']:,} |"
        for part in parts
    )
    columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in form.COLUMNS.items())
    sources = list(dict.fromkeys(source for part in parts for source in part["pool"]["config"]["corpus"]["inputs"]))
    listed = "\n".join([f"- {code(source)}" for source in sources[:20]] + (["- …"] if len(sources) > 20 else []))
    mask = _MASK.format(borders=_BORDERS[form.BORDERS]) if packed else _NO_MASK
    title = "a mix of datasets" if content["kind"] == "mix" else "an export of one dataset"
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---

# {counts["rows"]:,} rows of {format_length(config["length"])} tokens: {title}

Made with [NExtLong](https://arxiv.org/abs/2501.12766) by nextlong {content["nextlong"]}, anew from the sequences of:

| part | method | tokens of a sequence | sequences in a row | weight | rows | sequences | not used |
|---|---|---|---|---|---|---|---|
{table}

{mask}

| | |
|---|---|
| rows | {counts["rows"]:,} |
| sequences | {counts["sequences"]:,} |
| tokens | {counts["tokens"]:,} |
| sequences in no row | {counts["dropped"]:,} |
| tokens cut off | {counts["tokens_wasted"]:,} |
| meta-chunks cut or cut off | {counts["meta_chunks_cut"]:,} |
| tokenizer | {code(tokenizer["name"])}, {tokenizer["vocabulary_size"]:,} tokens |
| begin, end token | {tokenizer["bos_id"]}, {tokenizer["eos_id"]} |

## Load

```python
{form.LOADING.format(folder="FOLDER")}
```

## Columns

| column | content |
|---|---|
{columns}

`rows/*.parquet` is the canonical table: for each row its part or method (`domain`), where each of its sequences begins and
ends (`indices`), their ids in their dataset (`sequences`) and the spans of all of them in tokens of the row. So every
training token can be traced to its document. `nextlong verify` proves all of it.

## Sources

{listed}

Licence: {code(config["license"])}. The sources decide the licence; set it with `--license`.

## Configuration

{code_block(yaml.safe_dump(config, sort_keys=False), "yaml")}
"""


_NO_MASK = """**Train on all tokens with full causal attention inside a row**, which is one sequence. A mask between its
chunks would mask away the training signal."""

_MASK = """**Train on all tokens. Attention stays within each sequence of a row**, and is full and causal there:
{borders}. A mask between the chunks of a sequence would mask away the training signal."""

_BORDERS = {
    "recorded": "`indices` says where each begins and ends",
    "end token": "each ends with the end token",
}
