"""``nextlong demo``."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

import nextlong
from nextlong.cli import options
from nextlong.cli.summary import print_dataset, print_pool
from nextlong.cli.terminal import FAILED, console, name, say
from nextlong.cli.verify import print_report
from nextlong.corpus import demo_documents
from nextlong.execution.object_path import located
from nextlong.inspection.opened import Dataset
from nextlong.inspection.page.build import write_page
from nextlong.tokenization.train import train_byte_level_bpe

# Small enough to train in seconds on the demo corpus, large enough for about four characters a token.
_VOCABULARY_SIZE = 16_384


def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder to write.", parser=located, metavar="PATH")] = Path(
        "demo-run"
    ),
    length: Annotated[str, typer.Option(help="Tokens of a sequence.")] = "128K",
    tokens: Annotated[str, typer.Option(help="Tokens to make.")] = "4M",
    tokenizer: Annotated[
        str | None, typer.Option(help="Use this tokenizer instead of one trained on the demo corpus.")
    ] = None,
    encoder: options.Encoder = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    ray_address: options.RayAddress = None,
    overwrite: options.Overwrite = False,
    quiet: options.QuietOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """The whole job on a corpus that every Python has: its own documentation. Takes a minute or two."""
    page, progress = console(), options.shown(quiet, as_json)
    folder = out / "tokenizer"
    if tokenizer is None and not (folder / "tokenizer.json").exists():
        progress.say(f"Training a byte-level BPE of {_VOCABULARY_SIZE:,} tokens on Python's documentation")
        train_byte_level_bpe((document.text for document in demo_documents()), _VOCABULARY_SIZE, folder)
    sections = options.given({"encoder": {"name": encoder}})
    runs: dict[str, Any] = {"workers": workers, "executor": executor, "ray_address": ray_address, "progress": progress}
    pool = nextlong.build_pool("demo", out / "pool", overwrite=overwrite, **runs, **sections)
    data = out / "data"
    card = nextlong.synthesize(
        pool,
        data,
        length=length,
        tokens=tokens,
        tokenizer=tokenizer or str(folder),
        license="PSF-2.0",  # that of Python's documentation
        overwrite=overwrite,
        **runs,
    )
    report = nextlong.verify(data, **runs)
    look = f"nextlong inspect {name(data)} --html report.html   # needs: pip install 'nextlong[inspect]'"
    if report.ok and find_spec("vl_convert"):
        write_page([Dataset(data)], out / "report.html")
        look = f"open {name(out)}/report.html in a browser"
    if as_json:
        typer.echo(json.dumps({"pool": pool.description, "dataset": card, "verified": report.ok}))
    elif not quiet:
        print_pool(pool, page)
        print_dataset(Dataset(data), page)
        print_report(data, report)
        at = name(data)
        say(
            f"\nThe rows are in {at}/tokens, what they are made of in {at}/sequences, the card in {at}/README.md.\n"
            f"Look at it: {look}\n"
            f"Next, on your own corpus:\n"
            f"  nextlong index 'corpus/*.jsonl.zst' --out pool\n"
            f"  nextlong synthesize pool --out data --length 128K --tokens 100M --tokenizer NAME_OR_FOLDER\n"
            f"  nextlong verify data\n"
            f"  nextlong inspect data --html report.html"
        )
    if not report.ok:
        raise typer.Exit(FAILED)
