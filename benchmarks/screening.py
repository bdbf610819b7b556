"""What it takes to look for copies and for text of evaluation data, and whether all are found.

    python benchmarks/screening.py CORPUS.jsonl.zst --evaluation TEXTS.jsonl.zst --out FOLDER [--table docs/screening.md]

One process, one thread, processor time; the least of three rounds. The comparison with datasketch and rensa is left out
where these are not installed.
"""

from __future__ import annotations

import argparse
import os

# Before anything reads it. Threads that wait for each other spin, and that would count as processor time.
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markdown import write_table
from pipeline import machine

from nextlong.config import ChunkingConfig, CorpusConfig
from nextlong.corpus import find_sources, read_source
from nextlong.execution.arrow import open_arrow, whole_numbers
from nextlong.mining.copies import required_matches
from nextlong.pool import layout
from nextlong.pool.fingerprints import fingerprint
from nextlong.pool.ingest import ingest
from nextlong.records import CHUNK_SCHEMA, Document
from nextlong.screening.contamination import Counts, Runs, collected, find_runs
from nextlong.screening.duplicates import find_copies
from nextlong.screening.signatures import Signatures, differing_bits, equal_places, sketches

ROUNDS, SEED = 3, 1
JACCARD = 0.8
# Chunks that are compared with all others, and chunks that other packages are given.
SAMPLE, FOR_PACKAGES = 1_000, 20_000
# Passages of the corpus, half of one chunk and half of the next, that are put into the evaluation data; and their words.
PLANTED, PLANTED_WORDS = 500, 40
MIB = 1 << 20

Keys = npt.NDArray[np.uint64]
Stored = npt.NDArray[np.uint16]


def main() -> None:
    """Measure and print, and maybe write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", help="JSON Lines")
    parser.add_argument("--evaluation", required=True, help="JSON Lines whose `text` is taken for evaluation data")
    parser.add_argument("--out", type=Path, required=True, help="where to work")
    parser.add_argument("--table", type=Path, help="a Markdown file; its table is replaced, the text around it kept")
    options = parser.parse_args()
    texts, owners, keys, signatures = _read(options.corpus, options.out)
    bytes_ = sum(len(text.encode()) for text in texts)
    lines = [
        f"On `{Path(options.corpus).name}`: {len(texts):,} chunks, {bytes_ / 1e6:,.0f} MB.",
        "",
        "| copies | |",
        "|---|---|",
        *_copies(keys, signatures),
        "",
        f"| on its first {FOR_PACKAGES:,} chunks | µs a chunk | pairs found |",
        "|---|---|---|",
        *_packages(texts[:FOR_PACKAGES], keys[:FOR_PACKAGES], signatures[:FOR_PACKAGES]),
        "",
        "| evaluation data | |",
        "|---|---|",
        *_contamination(texts, owners, options.evaluation, bytes_),
        "",
        f"{machine()}; {date.today().isoformat()}. Seconds are processor time of one thread.",
    ]
    table = "\n".join(lines)
    print(table)
    if options.table:
        write_table(options.table, "screening.py", table)


def _read(corpus: str, folder: Path) -> tuple[list[str], npt.NDArray[np.int64], Keys, Stored]:
    """Chunks, the documents they are of, and their fingerprints."""
    config = CorpusConfig(inputs=(corpus,))
    if not (folder / layout.FINGERPRINTS).exists():
        ingest(find_sources(config), 0, config, ChunkingConfig(), folder, False, "")
        for path in sorted((folder / layout.CHUNKS).glob("*.arrow")):
            fingerprint(folder, path.stem)
    texts, owners, before = [], [], 0
    for path in sorted((folder / layout.CHUNKS).glob("*.arrow")):
        batch = open_arrow(path, CHUNK_SCHEMA)
        glue = batch.column("glue").to_pylist()
        texts += [text + between for text, between in zip(batch.column("text").to_pylist(), glue, strict=True)]
        owners.append(whole_numbers(batch.column("document")).astype(np.int64) + before)
        before = int(owners[-1][-1]) + 1
    fingerprints = folder / layout.FINGERPRINTS
    keys = np.concatenate([np.load(path) for path in sorted(fingerprints.glob("*.keys.npy"))])
    signatures = np.concatenate([np.load(path) for path in sorted(fingerprints.glob("*.signatures.npy"))])
    return texts, np.concatenate(owners), keys, signatures


def _least_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _most_memory(work: Callable[[], object]) -> int:
    """The most bytes that work has allocated at a time."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def _copies(keys: Keys, signatures: Stored) -> Iterator[str]:
    stored = Signatures([signatures])
    copies = find_copies(keys, stored, JACCARD)
    repeated, total = int(copies.repeated.sum()), len(keys)
    near = len(copies) - repeated
    kept, sizes = np.unique(copies.kept, return_counts=True)
    yield f"| have the words of an earlier chunk | {repeated:,} ({repeated / total:.1%}) |"
    yield f"| are near-copies of a kept one (Jaccard ≥ {JACCARD}) | {near:,} ({near / total:.1%}) |"
    yield f"| groups; the largest | {len(kept):,}; {int(sizes.max()) + 1:,} chunks |"
    sample = random.Random(SEED).sample(range(total), SAMPLE)
    found, pairs, decided = _recall(keys, signatures, set(copies.chunks.tolist()), sample)
    yield f"| of the {pairs:,} pairs that comparing {SAMPLE:,} chunks with all gives, share a band | {found / pairs:.4f} |"
    yield f"| of these {SAMPLE:,} chunks, dropped just if a kept earlier one is near | {decided / SAMPLE:.4f} |"
    yield f"| seconds | {_least_seconds(lambda: find_copies(keys, stored, JACCARD)):.1f} |"
    most = _most_memory(lambda: find_copies(keys, stored, JACCARD))
    half = _most_memory(lambda: find_copies(keys[: total // 2], Signatures([signatures[: total // 2]]), JACCARD))
    each = (most - half) / (total - total // 2)
    yield f"| memory, less the signatures; for each chunk of the second half | {most / MIB:,.0f} MiB; {each:,.0f} bytes |"


def _near(signatures: Stored, bits: Keys, chunk: int) -> npt.NDArray[np.int64]:
    """All chunks whose signatures reach the threshold, each compared."""
    required = required_matches(JACCARD)
    maybe = np.flatnonzero(differing_bits(bits, bits[chunk][None]) <= signatures.shape[1] - required)
    near = maybe[equal_places(signatures[maybe], signatures[chunk][None]) >= required]
    return near[near != chunk]


def _recall(keys: Keys, signatures: Stored, dropped: set[int], sample: list[int]) -> tuple[int, int, int]:
    """Pairs of the sample that share a band, all pairs, and chunks that are dropped or kept as they should be."""
    bits = sketches(Signatures([signatures]), np.arange(len(keys)))
    bands = signatures.shape[1] - required_matches(JACCARD) + 1
    width = signatures.shape[1] // bands
    found = pairs = decided = 0
    for chunk in sample:
        near = _near(signatures, bits, chunk)
        equal = (signatures[near] == signatures[chunk])[:, : bands * width].reshape(len(near), bands, width)
        found += int(equal.all(axis=2).any(axis=1).sum())
        pairs += len(near)
        earlier = [one for one in near.tolist() if one < chunk and one not in dropped]
        decided += bool(earlier) == (chunk in dropped)
    return found, pairs, decided


def _packages(texts: list[str], keys: Keys, signatures: Stored) -> Iterator[str]:
    """The same chunks by this and by packages. Pairs are those with signatures as near as the threshold."""
    stored = Signatures([signatures])
    bits = sketches(stored, np.arange(len(keys)))
    sample = random.Random(SEED).sample(range(len(keys)), SAMPLE)
    true = {(chunk, one) for chunk in sample for one in _near(signatures, bits, chunk).tolist()}
    seconds = _least_seconds(lambda: find_copies(keys, stored, JACCARD))
    found, pairs, _ = _recall(keys, signatures, set(), sample)
    yield f"| this | {seconds / len(keys) * 1e6:,.0f} | {found / pairs:.4f} |"
    if find_spec("datasketch"):
        from datasketch import MinHash, MinHashLSH

        start = time.process_time()
        index = MinHashLSH(threshold=JACCARD, num_perm=signatures.shape[1])
        hashes = [
            MinHash(num_perm=signatures.shape[1], hashvalues=row, scheme="legacy") for row in signatures.astype(np.uint64)
        ]
        for number, each in enumerate(hashes):
            index.insert(number, each)
        for each in hashes:  # as deduplication asks for each
            index.query(each)
        seconds = time.process_time() - start
        got = {(chunk, one) for chunk in sample for one in index.query(hashes[chunk])}
        what = f"datasketch {_version('datasketch')}, from these signatures"
        yield f"| {what} | {seconds / len(keys) * 1e6:,.0f} | {_share(got, true)} |"
    if find_spec("rensa"):
        from rensa import RMinHash, RMinHashLSH

        start = time.process_time()
        own = [_signed(RMinHash(signatures.shape[1], SEED), text) for text in texts]
        signed = time.process_time() - start
        index = RMinHashLSH(JACCARD, signatures.shape[1], 16)
        for number, each in enumerate(own):
            index.insert(number, each)
        for each in own:
            index.query(each)
        seconds = time.process_time() - start
        got = {(chunk, one) for chunk in sample for one in index.query(own[chunk])}
        what = f"rensa {_version('rensa')}, 16 bands, from its own signatures ({signed / len(keys) * 1e6:,.0f} of it)"
        yield f"| {what} | {seconds / len(keys) * 1e6:,.0f} | {_share(got, true)} |"


def _signed(signature: Any, text: str) -> Any:
    words = text.split()
    signature.update([" ".join(words[start : start + 5]) for start in range(max(1, len(words) - 4))])
    return signature


def _share(found: set[tuple[int, int]], true: set[tuple[int, int]]) -> str:
    return f"{len(found & true) / len(true):.4f}"


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _contamination(texts: list[str], owners: npt.NDArray[np.int64], evaluation: str, bytes_: int) -> Iterator[str]:
    config = CorpusConfig(inputs=(evaluation,))
    given = [
        record.text
        for record in islice(read_source(find_sources(config)[0], config), 1 << 20)
        if isinstance(record, Document)
    ]
    generator = random.Random(SEED)
    borders = np.flatnonzero(owners[1:] == owners[:-1]).tolist()  # chunks whose document goes on in the next one
    planted = [_planted(texts[chunk], texts[chunk + 1]) for chunk in generator.sample(borders, PLANTED)]
    runs = collected([*given, *planted], 13, Counts())
    yield f"| runs of 13 words in `{Path(evaluation).name}` and {PLANTED:,} passages of the corpus | {len(runs):,} |"
    seconds = _least_seconds(lambda: collected([*given, *planted], 13, Counts()))
    yield f"| seconds to make their table | {seconds:.1f} |"
    size = sum(array.nbytes for array in (runs.keys, runs.texts, runs.filter))
    most = _most_memory(lambda: collected([*given, *planted], 13, Counts()))
    yield f"| bytes a run: on disk, and of memory while it is made | {size / len(runs):.0f}, {most / len(runs):.0f} |"
    seconds = _least_seconds(lambda: find_runs(texts, owners, runs))
    yield f"| seconds to look through the corpus | {seconds:.1f} ({bytes_ / 1e6 / seconds:,.0f} MB/s) |"
    yield f"| of the passages that were taken from the corpus, found | {_found(texts, owners, runs, len(given)):.4f} |"


def _planted(text: str, following: str) -> str:
    """Words before and after the border of two chunks, in other case and punctuation."""
    words = [*text.split()[-PLANTED_WORDS // 2 :], *following.split()[: PLANTED_WORDS // 2]]
    return " -- ".join(words).upper()


def _found(texts: list[str], owners: npt.NDArray[np.int64], runs: Runs, given: int) -> float:
    found = find_runs(texts, owners, runs)
    own = {text for text in runs.texts.tolist() if text >= given}
    return len({text for text in runs.texts[found.runs].tolist() if text >= given}) / len(own)


if __name__ == "__main__":
    main()
