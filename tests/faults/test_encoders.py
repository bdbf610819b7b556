"""Encoders that give no numbers, too few or too narrow vectors, or die; services that fail in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fault_table import ERROR, RIGHT, counted
from faulty_service import Fault, FaultyService, answers, half, says, silent, slow
from safetensors.numpy import save_file
from small_runs import GRANULARITY

SERVED = "what the service gives vectors for"
# Of one shard of the corpus; and so few texts to a request that there are several.
THIRD, BATCH = 3, 8


@pytest.fixture(scope="module")
def service() -> Iterator[FaultyService]:
    service = FaultyService()
    yield service
    service.end()


def index(service: FaultyService) -> tuple[object, ...]:
    encoder = ("--encoder", f"endpoint:{service.url}", "--batch-size", BATCH)
    return ("index", "corpus", "--out", "pool", *encoder, "--granularity", GRANULARITY, "--quiet")


@pytest.fixture(scope="module", autouse=True)
def _undisturbed(place, service) -> None:
    place.restore("corpus")
    place.succeed(*index(service))
    place.keep(SERVED)


def first(row: str, value: object):
    """A change of the first vector of an answer."""

    def change(rows: list[dict[str, object]]) -> object:
        rows[0][row] = value
        return rows

    return change


NAN, INFINITY = float("nan"), float("inf")

# What the service answers for good → what the error says.
ANSWERS: dict[str, tuple[Fault, str]] = {
    "NaN in a vector": (answers(first("embedding", [NAN] * 16)), "NaN or infinity"),
    "infinity in a vector": (answers(first("embedding", [INFINITY] * 16)), "NaN or infinity"),
    "a number too large for any vector": (answers(first("embedding", [1e300] * 16)), "NaN or infinity"),
    "a vector less": (answers(lambda rows: rows[1:]), "vectors with the indexes"),
    "a vector more": (answers(lambda rows: [*rows, {**rows[0], "index": len(rows)}]), "vectors with the indexes"),
    "one vector twice": (answers(lambda rows: [rows[0], *rows[:-1]]), "vectors with the indexes"),
    "vectors of another width": (answers(lambda rows: [{**row, "embedding": [1.0] * 8} for row in rows]), "of shape (8,)"),
    "vectors of several widths": (answers(first("embedding", [1.0])), "no list of vectors"),
    "texts instead of numbers": (answers(first("embedding", ["a"] * 16)), "no list of vectors"),
    "no vectors at all": (answers(lambda _: []), "0 vectors"),
}
BODIES: dict[str, tuple[Fault, str]] = {
    "an answer that is no JSON": (says(200, b"<html>busy</html>"), "no list of vectors"),
    "an answer that is no text": (says(200, b"\xff\xfe\x00"), "no list of vectors"),
    "an empty answer": (says(200, b""), "no list of vectors"),
    "another JSON": (says(200, b'{"result": []}'), "no list of vectors"),
    "JSON nested too deeply": (says(200, b"[" * 100_000), "no list of vectors"),
    "401": (says(401, b'{"error": "no key"}'), "NEXTLONG_API_KEY"),
    "404": (says(404, b"not found"), "Check the address"),
    "a redirect": (says(302, b"", Location="http://127.0.0.1:9/"), "Redirects are not followed"),
    "500, again and again": (says(500, b"out of memory"), "still fails after"),
    "half of the body, again and again": (half, "still fails after"),
    "no answer, again and again": (silent, "still fails after"),
    "a byte now and then, again and again": (slow, "still fails after"),
}
FEW = (
    "NaN in a vector",
    "vectors of another width",
    "an answer that is no JSON",
    "401",
    "half of the body, again and again",
)


@pytest.mark.parametrize("what", [*ANSWERS, *BODIES])
def test_a_service_that_fails_for_good(place, service, all_faults, what):
    if not (all_faults or what in FEW):
        pytest.skip("one of those that are made with --all-faults")
    fault, said = {**ANSWERS, **BODIES}[what]
    place.restore("corpus")
    with service.wrong(lambda number: fault if number > THIRD else None):
        shown = place.fail(*index(service), impatient=True)
    assert said in shown, shown
    assert f"127.0.0.1:{service.port}" in shown
    assert not (place.folder / "pool" / "pool.yaml").exists()
    place.succeed(*index(service))
    place.same_as(SERVED)
    counted("encoder" if what in ANSWERS else "endpoint", what, ERROR)


# What the service does now and then, which is tried again.
TRIED_AGAIN: dict[str, Fault] = {
    "500 now and then": says(500, b"busy"),
    "429 now and then, with `Retry-After`": says(429, b"slower", Retry_After="0.01"),
    "half of the body now and then": half,
    "no answer now and then": silent,
}


@pytest.mark.parametrize("what", TRIED_AGAIN)
def test_a_service_that_fails_now_and_then(place, service, what):
    place.restore("corpus")
    with service.wrong(lambda number: TRIED_AGAIN[what] if number % 3 == 0 else None):
        place.succeed(*index(service), impatient=True)
        assert service.asked > 6
    place.same_as(SERVED)
    counted("endpoint", what, RIGHT)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_goes_away_and_comes_back(place, service, workers):
    place.restore("corpus")
    with service.wrong(service.end_after(THIRD, seconds=1.2)):
        place.succeed(*index(service), "--workers", workers)
    place.same_as(SERVED)
    counted("encoder", f"a service that goes away for a second, --workers {workers}", RIGHT)


def test_a_service_that_goes_away_for_good(place, service):
    place.restore("corpus")
    with service.wrong(service.end_after(THIRD, seconds=3)):
        shown = place.fail(*index(service), impatient=True)
    assert "still fails after" in shown and "finished shards are kept" in shown
    assert service.back.wait(60)
    place.succeed(*index(service))
    place.same_as(SERVED)
    counted("encoder", "a service that goes away for good", ERROR)


def write_static(folder: Path, tokenizer: Path, wrong: float) -> None:
    """A model2vec folder for the corpus's tokenizer; the vector of one token has this number."""
    folder.mkdir(exist_ok=True)
    content = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    table = np.random.default_rng(0).normal(size=(len(content["model"]["vocab"]), 8)).astype(np.float32)
    table[content["model"]["vocab"]["e"], 3] *= wrong
    save_file({"embeddings": table}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')


@pytest.mark.parametrize("wrong", [NAN, INFINITY])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_table_with_a_number_that_is_none(place, workers, wrong):
    arguments = ("index", "corpus", "--out", "pool", "--encoder", "static:model", "--granularity", GRANULARITY, "--quiet")
    place.restore("corpus")
    tokenizer, model = place.folder / "tokenizer", place.folder / "model"
    write_static(model, tokenizer, 1.0)
    place.succeed(*arguments, "--workers", workers)
    place.keep("static")
    place.restore("corpus")
    write_static(model, tokenizer, wrong)
    shown = place.fail(*arguments, "--workers", workers)
    assert "NaN or infinity for chunk " in shown and "of document 'doc-" in shown, shown
    write_static(model, tokenizer, 1.0)
    place.succeed(*arguments)
    place.same_as("static")
    counted("encoder", f"{'NaN' if wrong != wrong else 'infinity'} in a table of model2vec, --workers {workers}", ERROR)
