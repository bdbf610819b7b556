"""Tokenizer libraries compared: how many tokens a second, and are they the user's tokenizer's?

    python benchmarks/tokenizer_libraries.py FOLDER [FOLDER2 ...] --corpora A.jsonl.zst [B.jsonl ...] [--out DOC.md]

Every folder holds a `tokenizer.json`; the libraries get it without its special tokens, which are plain text in a corpus.
The texts are chunks of 2,048 characters, of every corpus the same number of megabytes from its beginning. Rates are tokens
per second of processor time, with one thread, of the first pass over the texts: nobody tokenises a chunk twice. Processor
time is the same on a busy machine, or nearly.

`tokenizers` itself says what is right. `hostile` are short texts of all kinds of characters in random order, and every
seventh code point in a few places.

Each library runs in a process of its own. One that is not installed is left out; those that were tried:
`pip install tiktoken gigatoken awkward snaptokens fastokens tuetoken tokie splintr-rs kitoken iree-tokenizer`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

CHUNK = 2048
BATCH = 2048
# As a sequence of 128K tokens is tokenised naively: 4.5 characters a token.
SEQUENCE = 131_072 * 9 // 2
NAIVE_CHARACTERS = 5_000_000
HOSTILE_TEXTS = 20_000
ONE_THREAD = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Encode = Callable[[list[str]], Sequence[Any]]

PIECES = [
    *("'s", "'S", "'ll", "'LL", "'\u017f", "\n", "\n\n", "\r\n", " ", "  ", "\t", "\u00a0", "\u2028", "\u0085", "\u3000"),
    *("\x1c", "\x0b", "1", "12", "1234", "\u0663", "\u00b2", "\u2167", "\u3007", "\u00e9", "e\u0301", "\ufb01", "\u0130"),
    *("\u0131", "\u01c5", "\u02b0", "\u4e2d", "\u306e", "\u30fc", "\u3002", "\ud55c", "\u1100\u1161", "\u0e01\u0e33"),
    *("\u200d", "\u200b", "\ufeff", "\U0001f469\u200d\U0001f466", "/", "//", "#", "_", "...", "--", "<|endoftext|>"),
    *("\x00", "\U0001f1e6", "\U00010400", "\U000e0100", "\u0300", "a", "B", "foo", "Bar", "HTTPServer", "fooBar"),
]


def nextlong(path: Path) -> Encode:
    """This project: `tokenizers`, asked once for every different part of the texts."""
    from nextlong.tokenization.huggingface import HuggingFaceTokenizer

    return HuggingFaceTokenizer(path.read_text(encoding="utf-8"), "x").encode_batch


def tokenizers(path: Path) -> Encode:
    """The reference."""
    library = import_module("tokenizers").Tokenizer.from_file(str(path))
    return lambda texts: [one.ids for one in library.encode_batch_fast(texts, add_special_tokens=False)]


def tiktoken(path: Path) -> Encode:
    """An encoding from the vocabulary and the expression of the file, ranks being ids."""
    data = json.loads(path.read_text(encoding="utf-8"))
    splits = data["pre_tokenizer"].get("pretokenizers", [])
    if len(splits) != 2 or splits[0]["type"] != "Split":
        raise ValueError("its splitting is not one expression")
    characters = {ord(char): byte for byte, char in enumerate(byte_characters())}
    ranks = {bytes(characters[ord(char)] for char in token): rank for token, rank in data["model"]["vocab"].items()}
    encoding = import_module("tiktoken").Encoding(
        "x", pat_str=splits[0]["pattern"]["Regex"], mergeable_ranks=ranks, special_tokens={}
    )
    form = "NFC" if data["normalizer"] else None
    if form is None:
        return lambda texts: encoding.encode_ordinary_batch(texts, num_threads=1)  # type: ignore[no-any-return]
    return lambda texts: encoding.encode_ordinary_batch(
        [unicodedata.normalize("NFC", text) for text in texts], num_threads=1
    )


def gigatoken(path: Path) -> Encode:
    """Its own interface, its arrays cut into texts."""
    library = import_module("gigatoken").Tokenizer.from_json(path.read_text(encoding="utf-8"))

    def encode(texts: list[str]) -> Sequence[Any]:
        encoded = library.encode_batch(texts, parallel=False).layout
        return np.split(np.asarray(encoded.content.data), np.asarray(encoded.offsets.data)[1:-1])

    return encode


def tuetoken(path: Path) -> Encode:
    """Its interface for corpora, its arrays cut into texts."""
    library = import_module("tuetoken").Tokenizer(str(path))

    def encode(texts: list[str]) -> Sequence[Any]:
        encoded = library.encode_ordinary_to_buffer(texts, num_threads=1)
        return np.split(encoded["data"], encoded["offsets"][1:-1])

    return encode


def of_encodings(module: str, make: str, **arguments: Any) -> Callable[[Path], Encode]:
    """A library with the interface of `tokenizers`."""

    def load(path: Path) -> Encode:
        library = getattr(import_module(module).Tokenizer, make)(str(path))
        return lambda texts: [one.ids for one in library.encode_batch(texts, **arguments)]

    return load


def splintr(path: Path) -> Encode:
    """Its batches."""
    library: Encode = import_module("splintr").from_json(str(path)).encode_batch
    return library


def kitoken(path: Path) -> Encode:
    """Its batches."""
    library: Encode = import_module("kitoken").Kitoken.from_file(str(path)).encode_all
    return library


def iree(path: Path) -> Encode:
    """One text at a time, which is not slower than its batches of lists."""
    library = import_module("iree.tokenizer").Tokenizer.from_file(str(path))
    return lambda texts: [library.encode_to_array(text) for text in texts]


# The name of the package, and how it is loaded.
LIBRARIES: dict[str, Callable[[Path], Encode]] = {
    "tokenizers": tokenizers,
    "nextlong": nextlong,
    "tiktoken": tiktoken,
    "gigatoken": gigatoken,
    "snaptokens": of_encodings("snaptokens", "from_file"),
    "fastokens": of_encodings("fastokens", "from_file", add_special_tokens=False),
    "tuetoken": tuetoken,
    "tokie": of_encodings("tokie", "from_json", add_special_tokens=False),
    "splintr-rs": splintr,
    "kitoken": kitoken,
    "iree-tokenizer": iree,
}


def main() -> None:
    """Measure and print, or write, the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--corpora", nargs="+", default=[])
    parser.add_argument("--megabytes", type=float, default=6)
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES))
    parser.add_argument("--out", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]))))
        return
    versions = {name: metadata.version(name) for name in options.libraries if installed(name)}
    results: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in versions}
    with TemporaryDirectory() as work:
        write_texts(Path(work), options.corpora, int(options.megabytes * 1e6))
        for folder in options.folders:
            write_plain(folder / "tokenizer.json", Path(work) / "tokenizer.json")
            for name in versions:
                results[name][folder.name] = run(name, Path(work))
                print(folder.name, name, results[name][folder.name], file=sys.stderr, flush=True)
    report(results, versions, options)


def installed(name: str) -> bool:
    """Whether a package is there."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def write_texts(work: Path, corpora: Sequence[str], size: int) -> None:
    """The chunks of the corpora, and hostile texts."""
    from nextlong.config import CorpusConfig
    from nextlong.corpus import find_sources, read_source
    from nextlong.records import Document

    chunks: list[str] = []
    for corpus in corpora:
        left = size
        for source in find_sources(CorpusConfig(inputs=(corpus,))):
            for document in read_source(source, CorpusConfig(inputs=(corpus,))):
                if left <= 0:
                    break
                if isinstance(document, Document):
                    chunks += (document.text[i : i + CHUNK] for i in range(0, len(document.text), CHUNK))
                    left -= len(document.text)
    (work / "chunks.json").write_text(json.dumps(chunks), encoding="utf-8")
    (work / "hostile.json").write_text(json.dumps(list(hostile_texts())), encoding="utf-8")


def hostile_texts() -> Iterator[str]:
    """Always the same."""
    source = random.Random(0)
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for _ in range(HOSTILE_TEXTS):
        size = source.randint(1, 30)
        yield "".join(source.choice(PIECES) if source.random() < 0.7 else chr(source.choice(points)) for _ in range(size))
    for point in points[: 0x30000 - 0x800 : 7]:
        yield f"a{chr(point)}b {chr(point)}1 {chr(point)}{chr(point)}\n"


def write_plain(path: Path, out: Path) -> None:
    """A `tokenizer.json` without its special tokens."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["added_tokens"] = [token for token in data["added_tokens"] if not token["special"]]
    data["post_processor"] = data["truncation"] = data["padding"] = None
    out.write_text(json.dumps(data), encoding="utf-8")


def run(name: str, work: Path) -> dict[str, Any]:
    """Measure a library in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(work)]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {"error": next((line for line in reversed(lines) if "Error" in line or "panicked" in line), lines[-1])[:200]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(name: str, work: Path) -> dict[str, Any]:
    """The rate of a library, and how many texts have other tokens than the reference, which must have been run before."""
    chunks, hostile = (json.loads((work / f"{kind}.json").read_text(encoding="utf-8")) for kind in ("chunks", "hostile"))
    encode = LIBRARIES[name](work / "tokenizer.json")
    begin = time.process_time()
    encoded = [np.asarray(one) for i in range(0, len(chunks), BATCH) for one in encode(chunks[i : i + BATCH])]
    seconds = time.process_time() - begin
    result: dict[str, Any] = {"rate": sum(map(len, encoded)) / seconds}
    encoded += [np.asarray(one) for one in encode(hostile)]
    reference = work / "reference.npz"
    if name == "tokenizers":
        np.savez(reference, flat=np.concatenate(encoded), sizes=[len(one) for one in encoded])
        text = "".join(chunks)[:NAIVE_CHARACTERS]
        library = import_module("tokenizers").Tokenizer.from_file(str(work / "tokenizer.json"))
        begin = time.process_time()
        count = sum(
            len(library.encode(text[i : i + SEQUENCE], add_special_tokens=False).ids) for i in range(0, len(text), SEQUENCE)
        )
        result["naive"] = count / (time.process_time() - begin)
    with np.load(reference) as right:
        expected = np.split(right["flat"], np.cumsum(right["sizes"])[:-1])
    wrong = [not np.array_equal(one, other) for one, other in zip(encoded, expected, strict=True)]
    return result | {"wrong": sum(wrong[: len(chunks)]), "hostile": sum(wrong[len(chunks) :])}


def report(results: dict[str, dict[str, dict[str, Any]]], versions: dict[str, str], options: argparse.Namespace) -> None:
    """Print the table, or write it."""
    names = [folder.name for folder in options.folders]
    corpora = ", ".join(Path(corpus).name for corpus in options.corpora)
    lines = [
        f"`python benchmarks/tokenizer_libraries.py {' '.join(names)}` on one core of {processor()}; the first "
        f"{options.megabytes:g} MB of each of {corpora}. Million tokens per second of processor time; in brackets, of the "
        "chunks and of the hostile texts, how many have other tokens than the reference.",
        "",
        "| library | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    if "tokenizers" in results:
        naive = [f"{results['tokenizers'][name]['naive'] / 1e6:.2f}" for name in names]
        lines.append("| naive: `encode` of whole sequences | " + " | ".join(naive) + " |")
    for library, by_name in results.items():
        title = f"{library} {versions[library]}" + (" (the reference)" if library == "tokenizers" else "")
        lines.append(f"| {title} | " + " | ".join(cell(by_name[name], library) for name in names) + " |")
    lines += [
        "",
        *(
            f"- {library}, {name}: {one['error']}"
            for library, by in results.items()
            for name, one in by.items()
            if "error" in one
        ),
    ]
    table = "\n".join(lines).rstrip() + "\n"
    if not options.out:
        print(table)
        return
    start, end = "<!-- table: benchmarks/tokenizer_libraries.py -->\n", "<!-- end of table -->"
    text = options.out.read_text(encoding="utf-8")
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    options.out.write_text(before + start + "\n" + table + "\n" + end + after, encoding="utf-8")


def cell(one: dict[str, Any], library: str) -> str:
    """A rate, and what is wrong."""
    if "error" in one:
        return "fails"
    wrong = "" if library == "tokenizers" else f" ({one['wrong']:,}, {one['hostile']:,})"
    return f"{one['rate'] / 1e6:.2f}{wrong}"


def processor() -> str:
    """Its name."""
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        return next((line.partition(": ")[2].strip() for line in file if line.startswith("model name")), platform.machine())


def byte_characters() -> list[str]:
    """How byte-level tokenizers write each byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(0x100, 0x200))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


if __name__ == "__main__":
    main()
