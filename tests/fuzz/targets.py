"""Fuzz targets: each takes bytes, and may succeed or raise NextlongError. Anything else is a finding.

A target is a function with the inputs that a fuzzer begins with. `make fuzz` runs them guided by coverage, `test_fuzz.py`
runs them a little in the suite, and on all that was ever found.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import world
import zstandard
from small_runs import LENGTH

import nextlong
from nextlong.chunking import make_chunker
from nextlong.composition.document_graph import document_graph, open_document_graph
from nextlong.composition.keywords import KeywordSettings
from nextlong.composition.quest_keywords import keywords_of_shard, open_keywords, pool_keywords
from nextlong.config import ChunkingConfig, CorpusConfig, EncoderConfig, load_recipe
from nextlong.corpus.huggingface import find_saved_dataset
from nextlong.corpus.read import read_source
from nextlong.corpus.source import Source, public_name
from nextlong.dataset.markdown import code, code_block
from nextlong.dataset.mine import read_neighbours
from nextlong.dataset.plan import read_units
from nextlong.embedding.endpoint import EndpointEncoder
from nextlong.errors import NextlongError
from nextlong.execution.arrays import load_array
from nextlong.execution.arrow import open_arrow, strings
from nextlong.execution.files import read_description, read_json, write_description, write_record
from nextlong.execution.local import LocalExecutor
from nextlong.execution.progress import Quiet
from nextlong.execution.tables import read_rows, read_table
from nextlong.execution.tasks import Ledger
from nextlong.exporting.gather import GATHERED_SCHEMA, open_gathered
from nextlong.formats.registry import FORMATS
from nextlong.index import lexical
from nextlong.index.build import build_ivf
from nextlong.index.ivf import load_ivf
from nextlong.index.lexical import build_lexical, load_lexical
from nextlong.index.vectors import VectorShards
from nextlong.plain_yaml import load_yaml
from nextlong.pool import pool as pool_module
from nextlong.pool.catalog import read_shard_table
from nextlong.pool.pool import Pool
from nextlong.public_text import printable, redacted
from nextlong.records import CHUNK_SCHEMA, DOCUMENT_SCHEMA, NEIGHBOUR_SCHEMA, SEQUENCE_SCHEMA, UNIT_SCHEMA, Document
from nextlong.screening.contamination import Counts, collected, find_runs
from nextlong.screening.evaluation import evaluation_texts
from nextlong.tokenization.huggingface import load_from_folder
from nextlong.tokenization.store import TokenStore, open_joiner
from nextlong.tokenization.tokenizer import load_tokenizer
from nextlong.verification.verify import verify_path


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        run: takes any bytes.
        seeds: gives inputs to begin with.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Target] = {}

NEIGHBOURS = 10  # of a document, in the graph of `iclm`


def target(seeds: Callable[[], list[bytes]]) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Register a function as the target of its name."""

    def register(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def allowed(data: bytes) -> None:
            with suppress(NextlongError):
                run(data)

        TARGETS[run.__name__] = Target(allowed, seeds)
        return run

    return register


@contextmanager
def file(name: str, data: bytes) -> Iterator[Path]:
    """A file with this content."""
    path = world.folder() / "inputs" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    world.replace(path, data)
    yield path


def read_corpus(path: Path, kind: str) -> None:
    """Read a source of one file and look at what it gives."""
    config = CorpusConfig()
    folder = str(path.parent) if kind == "text" else str(path)
    source = Source(path.name, folder, kind, path.stat().st_size, "", (path.name,) if kind == "text" else ())  # type: ignore[arg-type]
    for record in read_source(source, config):
        if isinstance(record, Document):
            assert record.text.strip() and record.text.encode()
            assert record.id is None or record.id.encode()
        else:
            assert record.reason == printable(record.reason, lines=False), record.reason


# ---------------------------------------------------------------------------------------------------------------- readers

_LINES = b"""{"text": "a document", "id": "a"}
{"id": 7, "text": "another\\nwith lines \\u00fc \\ud83d\\ude00"}
\xef\xbb\xbf{"text": 7}
{"text": "\\ud800", "id": NaN}
[1, {"text": null}]
"""


@target(lambda: [_LINES, gzip.compress(_LINES, mtime=0), zstandard.compress(_LINES), b"\x50\x2a\x4d\x18\x00\x00\x00\x00"])
def jsonl(data: bytes) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        with file(name, data) as path:
            read_corpus(path, "jsonl")


def _parquet_seeds() -> list[bytes]:
    tables = [
        pa.table({"text": ["a document", "", None], "id": ["x", "y", "z"]}),
        pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode(), "id": [1, 2, 3]}),
        pa.table({"text": pa.array([b"bytes", b"\xff"]), "other": [[1], []]}),
    ]
    seeds = []
    for place, table in enumerate(tables):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression=("none", "zstd", "snappy")[place], row_group_size=2)
        seeds.append(sink.getvalue().to_pybytes())
    return seeds


@target(_parquet_seeds)
def parquet(data: bytes) -> None:
    with file("a.parquet", data) as path:
        read_corpus(path, "parquet")


@target(lambda: [b"text\n", b"\xef\xbb\xbftext", b"\xff\xfet\x00", " \u00a0\n".encode()])
def text(data: bytes) -> None:
    with file("a.txt", data) as path:
        read_corpus(path, "text")


def _evaluation_seeds() -> list[bytes]:
    values = [{"a": {"b": ["text", {"c": "more"}]}, "n": 1}, ["bare"]]
    return [_LINES, json.dumps(values, indent=1).encode(), json.dumps(values[0]).encode(), *_parquet_seeds()[:1]]


@target(_evaluation_seeds)
def evaluation(data: bytes) -> None:
    for name, kind in (("a.jsonl", "jsonl"), ("a.json", "jsonl"), ("a.parquet", "parquet"), ("a.txt", "text")):
        with file(name, data) as path:
            folder = str(path.parent) if kind == "text" else str(path)
            source = Source(name, folder, kind, len(data), "", (name,) if kind == "text" else ())  # type: ignore[arg-type]
            with suppress(NextlongError):
                runs = collected((each.text for each in evaluation_texts(source, ())), 5, Counts())
                assert runs.is_sound()
                find_runs([data.decode("utf-8", "replace")], np.zeros(1, dtype=np.int64), runs)


@target(lambda: [b'{"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "f", "_split": "train"}'])
def saved_dataset(data: bytes) -> None:
    with file("state.json", data) as path:
        (path.parent / "dataset_info.json").write_bytes(b"{}")
        find_saved_dataset(path.parent, "", "shown")


# --------------------------------------------------------------------------------------------------------------- chunkers


def _chunker_seeds() -> list[bytes]:
    return [b"\x05\x03a paragraph\n\nanother. And more\n", b"\x01\x00" + b"\n" * 20, b"\x09\x09" + "漢字。 ".encode() * 9]


@target(_chunker_seeds)
def chunkers(data: bytes) -> None:
    granularity, extra = (data[0] or 1, data[1]) if len(data) > 1 else (1, 0)
    document = data[2:].decode("utf-8", "replace")
    chunks = make_chunker(ChunkingConfig(granularity=granularity, cap=granularity + extra))(document)
    assert "".join(chunk.text + chunk.glue for chunk in chunks) == document
    assert all(len(chunk.text) <= granularity + extra for chunk in chunks)
    paper = make_chunker(ChunkingConfig(chunker="paper", granularity=granularity))(document)
    assert all(chunk.text in document for chunk in paper)
    config = ChunkingConfig(
        chunker="tokens", granularity=granularity, cap=granularity + extra, tokenizer=str(world.tokenizer())
    )
    by_tokens = _token_chunker(config)(document)
    assert "".join(chunk.text + chunk.glue for chunk in by_tokens) == document


@cache
def _token_chunker(config: ChunkingConfig) -> Callable[[str], list]:
    return make_chunker(config)


# ------------------------------------------------------------------------------------------------- recipes, descriptions


def _recipes() -> list[bytes]:
    recipes = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))]
    return [*recipes, b"pool: &p {corpus: {inputs: [a]}}\nx: *p\n", b"mix: {parts: [{dataset: a, weight: 2}]}"]


@target(_recipes)
def recipe(data: bytes) -> None:
    with file("recipe.yaml", data) as path:
        load_recipe(path)


@target(lambda: [*_recipes(), b"!!timestamp 2001-01-01", b"? [a]\n: !!binary aGk=\n", b"1:30:00", b"0o7", b"{<<: {a: 1}}"])
def plain_yaml(data: bytes) -> None:
    with suppress(ValueError):
        load_yaml(data.decode("utf-8", "replace"))


@target(lambda: [(world.pool() / "pool.yaml").read_bytes(), (world.dataset() / "dataset.yaml").read_bytes()])
def description(data: bytes) -> None:
    with file("pool.yaml", data) as path:
        read_description(path)


@target(lambda: [path.read_bytes() for path in sorted(world.pool().glob("receipts/*/*.json"))])
def receipt(data: bytes) -> None:
    with file("unused", b"") as path:
        folder = path.parent / "receipts" / "stage"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            content = {key: value for key, value in json.loads(data).items() if key != "checksum"}
            write_record(folder / "one.json", {**content, "stage": "stage", "name": "one"})
        except (ValueError, AttributeError, TypeError, RecursionError):
            world.replace(folder / "one.json", data)
        for found in Ledger(path.parent).receipts("stage"):
            assert all(".." not in output.split("/") and not output.startswith("/") for output in found.outputs)
            found.checksums()


@target(lambda: [(world.pool() / "plan.json").read_bytes(), b'{"kind": "export"}'])
def plan(data: bytes) -> None:
    with file("unused", b"") as path:
        folder = path.parent / "planned"
        folder.mkdir(exist_ok=True)
        world.replace(folder / "plan.json", data)
        verify_path(folder, LocalExecutor(1), Quiet())


@target(lambda: [(world.pool() / "catalog" / "shards.json").read_bytes()])
def shards(data: bytes) -> None:
    with file("unused", b"") as path:
        folder = path.parent / "catalog"
        folder.mkdir(exist_ok=True)
        world.replace(folder / "shards.json", data)
        for entry in read_shard_table(path.parent):
            assert "/" not in entry["name"] and entry["chunks"] >= 0
        read_json(folder / "shards.json")


@target(lambda: [(world.tokenizer() / "tokenizer.json").read_bytes()[:20_000], _tiny_tokenizer()])
def tokenizer(data: bytes) -> None:
    with file("tokenizer.json", data) as path:
        loaded = load_from_folder(path.parent, "shown")
        loaded.decode(loaded.encode_batch(["some text \x00 <s>"])[0])


def _tiny_tokenizer() -> bytes:
    vocabulary = {character: number for number, character in enumerate("abcdefgh")}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": None}
    added = [{"id": 8, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False}]
    return json.dumps({"version": "1.0", "model": model, "added_tokens": [{**added[0], "normalized": False}]}).encode()


# -------------------------------------------------------------------------------------------------------- arrays, tables


def _files(pattern: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in sorted(world.pool().glob(pattern))]


@target(lambda: [content for name in ("catalog", "vectors", "fingerprints") for content in _files(f"{name}/*.npy")()])
def array(data: bytes) -> None:
    with file("a.npy", data) as path:
        for dtype, dimensions in ((np.float16, 2), (np.int64, 1), (np.uint64, 1), (np.uint16, 2)):
            for mapped in (True, False):
                with suppress(NextlongError):
                    load_array(path, dtype, dimensions, mapped).sum()


@target(lambda: [*_files("chunks/*.arrow")(), *_files("documents/*.arrow")()])
def arrow(data: bytes) -> None:
    with file("a.arrow", data) as path:
        for schema, column in ((CHUNK_SCHEMA, "text"), (DOCUMENT_SCHEMA, "id")):
            with suppress(NextlongError):
                batch = open_arrow(path, schema)
                strings(batch.column(column), path)
                strings(batch.column(column).take(pa.array(range(len(batch)))), path)
                batch.drop_columns(["glue", "text"] if column == "text" else ["id", "source"]).to_pylist()


def _nested() -> list[bytes]:
    made = [world.dataset() / "units" / "all.arrow", world.dataset() / "neighbours" / "00000.arrow"]
    made += sorted((world.export() / "gathered").glob("*.arrow"))
    return [path.read_bytes() for path in made if path.exists()]


@target(_nested)
def nested_arrow(data: bytes) -> None:
    with file("a.arrow", data) as path:
        for read in (read_units, read_neighbours, open_gathered):
            with suppress(NextlongError):
                read(path)
        for schema, column in ((UNIT_SCHEMA, "documents"), (NEIGHBOUR_SCHEMA, "chunks"), (GATHERED_SCHEMA, "spans")):
            with suppress(NextlongError):
                open_arrow(path, schema).column(column).flatten().nbytes  # noqa: B018


@target(lambda: [path.read_bytes() for path in sorted((world.dataset() / "sequences").glob("*.parquet"))])
def sequences(data: bytes) -> None:
    with file("a.parquet", data) as path:
        with suppress(NextlongError):
            read_table(path, SEQUENCE_SCHEMA).to_pylist()
        list(read_rows(path, SEQUENCE_SCHEMA, 2))


# -------------------------------------------------------------------------------------- indexes, stored tokens, services


def _index_files() -> list[Path]:
    return sorted(path for path in _index().rglob("*") if path.is_file())


@cache
def _index() -> Path:
    """An inverted file over the pool's vectors, in three shards' worth of lists."""
    folder = world.folder() / "ivf"
    folder.mkdir()
    _reports[folder] = build_ivf(_vectors(), folder, seed=0, recall_target=0.9, lists=3)
    return folder


_reports: dict[Path, Any] = {}


@cache
def _vectors() -> VectorShards:
    return VectorShards(sorted((world.pool() / "vectors").glob("*.npy")))


@target(lambda: [bytes([number]) + path.read_bytes() for number, path in enumerate(_index_files())])
def inverted_file(data: bytes) -> None:
    if not data:
        return
    path = _index_files()[data[0] % len(_index_files())]
    good = path.read_bytes()
    try:
        world.replace(path, data[1:])
        opened = load_ivf(_index(), _vectors(), _reports[_index()])
        _, found = opened.search(_vectors().take(np.arange(3)), 5)
        assert found.max() < _vectors().count
    finally:
        world.replace(path, good)


@cache
def _words() -> Path:
    """The BM25 index of the pool's chunks."""
    folder = world.folder() / "words"
    pool = Pool(world.pool())
    build_lexical(pool.texts(range(pool.chunks)), folder)
    return folder


@target(lambda: [bytes([number]) + (_words() / name).read_bytes() for number, name in enumerate(lexical.FILES)])
def words_index(data: bytes) -> None:
    if not data:
        return
    path, pool = _words() / lexical.FILES[data[0] % len(lexical.FILES)], Pool(world.pool())
    good = path.read_bytes()
    try:
        world.replace(path, data[1:])
        _, found = load_lexical(_words(), pool.chunks).search(pool.texts([0, 1]), 5)
        assert found.max() < pool.chunks
    finally:
        world.replace(path, good)


@cache
def _pool_for(method: str) -> Pool:
    """A copy of the pool, with what a method keeps in it."""
    pool = Pool(shutil.copytree(world.pool(), world.folder() / f"pool-{method}"))
    if method == "quest":
        for shard in range(len(pool.shards)):
            keywords_of_shard(pool.folder, pool.id, shard, KeywordSettings(), None, _KEYWORDS.folder(pool))
    else:
        keys = {"length": LENGTH, "roots": 2, "tokenizer": str(world.tokenizer()), "composition": {"method": method}}
        nextlong.synthesize(pool, world.folder() / f"data-{method}", workers=1, **keys)
    return pool


def _graph_file() -> Path:
    pool = _pool_for("iclm")
    return min(document_graph(pool, NEIGHBOURS).folder(pool).glob("*.npy"))


@target(lambda: [_graph_file().read_bytes()])
def nearest_documents(data: bytes) -> None:
    path, pool = _graph_file(), _pool_for("iclm")
    good = path.read_bytes()
    try:
        world.replace(path, data)
        graph = open_document_graph(pool, NEIGHBOURS)
        assert graph.take(np.arange(pool.documents)).max() < pool.documents
    finally:
        world.replace(path, good)


_KEYWORDS = pool_keywords(KeywordSettings(), None)


def _keywords_file() -> Path:
    return min(_KEYWORDS.folder(_pool_for("quest")).glob("*.arrow"))


@target(lambda: [_keywords_file().read_bytes()])
def keywords(data: bytes) -> None:
    path, pool = _keywords_file(), _pool_for("quest")
    good = path.read_bytes()
    try:
        world.replace(path, data)
        found, starts = open_keywords(pool, _KEYWORDS)
        found.to_pylist()
        assert starts[-1] == len(found)
    finally:
        world.replace(path, good)


@target(lambda: [path.read_bytes() for path in sorted((_stored()).glob("*.arrow"))])
def stored_tokens(data: bytes) -> None:
    path = min(_stored().glob("*.arrow"))
    good = path.read_bytes()
    try:
        world.replace(path, data)
        _clear_caches()
        pool = Pool(world.pool())
        store = TokenStore(
            pool, open_joiner(str(world.tokenizer()), "\n\n", load_tokenizer(str(world.tokenizer())).fingerprint)
        )
        store.lengths(np.arange(min(pool.chunks, 50)))
    finally:
        world.replace(path, good)


@cache
def _stored() -> Path:
    world.dataset()
    (folder,) = (world.pool() / "tokens").iterdir()
    return folder


# What a service answers; the encoder that asks is real, and so is the server.
_answer: list[bytes] = []


@cache
def _encoder() -> EndpointEncoder:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(_answer[0])))
            self.end_headers()
            self.wfile.write(_answer[0])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["no_proxy"] = "127.0.0.1"
    _answer[:] = [b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}']
    return EndpointEncoder(EncoderConfig(name="endpoint"), f"http://127.0.0.1:{server.server_port}", first_wait=0)


@target(lambda: [b'{"data": [{"index": 1, "embedding": [1, 2, 3]}, {"index": 0, "embedding": [1e300, -2.5, NaN]}]}', b"[]"])
def service(data: bytes) -> None:
    encoder = _encoder()
    _answer[:] = [data]
    assert encoder.encode(["a text", "another"]).shape == (2, 3)


# ---------------------------------------------------------------------------------------------------------------- formats


def _format_seeds(form: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        first, *others = FORMATS[form].SUFFIXES
        main = min((world.dataset(form) / "tokens").glob(f"*{first}"))
        parts = [main, *(main.with_name(main.name.removesuffix(first) + suffix) for suffix in others)]
        contents = [path.read_bytes() for path in parts]
        return [len(contents[-1]).to_bytes(3, "little") + b"".join(reversed(contents)) if others else contents[0]]

    return seeds


def _read_format(form: str, data: bytes) -> None:
    """Read a shard; of two files, the length of the second stands first, in three bytes, then it, then the first."""
    first, *others = FORMATS[form].SUFFIXES
    if others:
        size = int.from_bytes(data[:3], "little")
        with file(f"rows{others[0]}", data[3 : 3 + size]):
            data = data[3 + size :]
    with file(f"rows{first}", data) as path:
        for start in (0, 1):
            with suppress(NextlongError):
                for row in FORMATS[form].read(path, start):
                    assert isinstance(row.content, str) or row.content.min(initial=0) >= 0


def _format_target(form: str) -> None:
    def run(data: bytes) -> None:
        _read_format(form, data)

    run.__name__ = f"format_{form}"
    target(_format_seeds(form))(run)


for _form in FORMATS:
    _format_target(_form)


# ------------------------------------------------------------------------- whole folders, forged so as to pass for sound


@cache
def _forged(kind: str) -> world.Forged:
    made = {"pool": world.pool, "screened_pool": world.screened_pool, "dataset": world.dataset, "export": world.export}
    return world.Forged(made[kind]())


def _verify(kind: str, data: bytes) -> None:
    if not data:
        return
    forged = _forged(kind)
    try:
        path = forged.forge(data)
        if path.suffix == ".yaml":  # its own checksum is no obstacle to whoever edits it
            with suppress(ValueError, TypeError):
                content = load_yaml(data[1:].decode("utf-8", "replace"))
                if isinstance(content, dict):
                    content.pop("checksum", None)
                    write_description(path, content)
        _clear_caches()
        report = verify_path(forged.folder, LocalExecutor(1), Quiet())
        assert all(isinstance(failure.what, str) for failure in report.failures)
        if kind == "pool":
            opened = Pool(forged.folder)
            chunks = np.arange(min(opened.chunks, 1000))
            opened.texts(chunks)
            opened.bytes_of(chunks)
            opened.document_ids(opened.documents_of(chunks))
            opened.fold_keys(chunks)
            opened.signatures(chunks)
            opened.index.search(opened.vectors.take(chunks[:3]), 5)
    finally:
        forged.restore()
        _clear_caches()


def _clear_caches() -> None:
    pool_module._opened.cache_clear()


@target(lambda: _forged("pool").seeds())
def forged_pool(data: bytes) -> None:
    _verify("pool", data)


@target(lambda: _forged("screened_pool").seeds())
def forged_screened_pool(data: bytes) -> None:
    _verify("screened_pool", data)


@target(lambda: _forged("dataset").seeds())
def forged_dataset(data: bytes) -> None:
    _verify("dataset", data)


@target(lambda: _forged("export").seeds())
def forged_export(data: bytes) -> None:
    _verify("export", data)


# ------------------------------------------------------------------------------------------------------- text that is shown


@target(lambda: [b"https://user:pass@host/path?sig=1#x", b"\x1b]8;;x\x07", b"`` ` ```\n|", b"simplecache::s3://a:b/c@d::e"])
def shown(data: bytes) -> None:
    given = data.decode("utf-8", "surrogateescape")
    assert printable(given, lines=False).isprintable()
    assert public_name(given).isprintable()
    assert printable(code(given), lines=False) == code(given)
    code_block(given, "yaml")
    secret = redacted(f"https://user:pa55word@{given}")
    assert "pa55word" not in secret
