"""An export for another tokenizer: the same chunks, that tokenizer's tokens, whole rows."""

from __future__ import annotations

import json
import shutil
from functools import cache

import numpy as np
import pytest
from exported import LONG, LONG_ROWS, SHORT, SHORT_ROWS, rows_of, sequences_of, tokens_of

import nextlong
from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.tokenizer import load_tokenizer


@cache
def joiner_of(folder):
    return Joiner(load_tokenizer(str(folder)), "\n\n")


def whole_text(pool, folder, spans):
    """A sequence's text as that tokenizer encodes it at once, without storing or joining anything."""
    return joiner_of(str(folder)).encode_text(pool.texts([span["chunk"] for span in spans]))


def test_tokens_are_those_of_the_whole_text_and_spans_go_with_them(made, family_pool, tokenizers, tmp_path):
    out = tmp_path / "out"
    card = nextlong.export(made / "long", out, tokenizer=str(tokenizers / "sparse"), workers=1)
    tokenizer = load_tokenizer(str(tokenizers / "sparse"))
    sequences, rows = sequences_of(made / "long"), tokens_of(out)
    assert list(rows) == list(sequences)
    wasted = 0
    for row in rows_of(out):
        tokens, spans = rows[row["id"]], row["spans"]
        assert len(tokens) == LONG and tokens[0] == tokenizer.bos_id and tokens[-1] == tokenizer.eos_id
        whole = whole_text(family_pool, tokenizers / "sparse", sequences[row["id"]]["spans"])
        assert np.array_equal(tokens[1:-1], whole[: LONG - 2])
        wasted += len(whole) - (LONG - 2)
        # The same chunks in the same roles, as many as there is room for, one after the other.
        places = ("token_start", "token_end")
        plain = [{key: value for key, value in span.items() if key not in places} for span in spans]
        before = sequences[row["id"]]["spans"]
        assert plain == [{key: value for key, value in span.items() if key not in places} for span in before][: len(plain)]
        borders = [span["token_start"] for span in spans] + [spans[-1]["token_end"]]
        assert borders[0] == 1 and borders[-1] == LONG - 1 and borders == sorted(set(borders))
        assert [span["token_end"] for span in spans] == borders[1:]
        # Each span's tokens are its chunk's text and the separator after it; the last may be cut.
        for span in spans[:-1]:
            text = family_pool.texts([span["chunk"]])[0] + "\n\n"
            assert tokenizer.decode(tokens[span["token_start"] : span["token_end"]]) == text
    assert wasted > LONG_ROWS and card["counts"]["tokens_wasted"] == wasted
    assert card["tokenizer"]["fingerprint"] == tokenizer.fingerprint and card["parts"][0]["retokenized"]
    assert nextlong.verify(out, workers=1).ok


def test_what_is_too_short_is_dropped_counted_and_listed(made, family_pool, tokenizers, tmp_path):
    sequences = sequences_of(made / "short")
    dense = str(tokenizers / "dense")
    tokens = {one: len(whole_text(family_pool, dense, row["spans"])) for one, row in sequences.items()}
    length = sorted(tokens.values())[SHORT_ROWS // 2] + 2  # a half is shorter
    card = nextlong.export(made / "short", tmp_path / "out", tokenizer=dense, length=length, workers=1)
    short = {one: amount for one, amount in tokens.items() if amount < length - 2}
    assert 5 < len(short) < SHORT_ROWS - 5
    counts = card["counts"]
    assert counts["dropped"] == len(short) == card["parts"][0]["counts"]["too_short"]
    assert counts["rows"] == counts["sequences"] == SHORT_ROWS - len(short)
    assert counts["tokens_wasted"] == sum(amount - (length - 2) for amount in tokens.values() if amount >= length - 2)
    lines = [line for path in sorted((tmp_path / "out" / "rejects").iterdir()) for line in path.read_text().splitlines()]
    assert [json.loads(line) for line in lines] == [
        {"id": one, "tokens": amount, "needed": length - 2} for one, amount in short.items()
    ]
    assert list(tokens_of(tmp_path / "out")) == [one for one in sequences if one not in short]
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_where_nothing_is_long_enough_the_error_says_what_would_be(made, tokenizers, tmp_path):
    dense = str(tokenizers / "dense")
    with pytest.raises(nextlong.NextlongError, match=r"none of the 7 sequences of .*long fills 8,192 tokens") as error:
        nextlong.export(made / "long", tmp_path / "out", tokenizer=dense, length="8K", workers=1)
    length = int(error.value.hint.split("--length ")[1].split(".")[0])
    card = nextlong.export(made / "long", tmp_path / "out", tokenizer=dense, length=length, workers=1, overwrite=True)
    assert card["counts"]["rows"] >= LONG_ROWS - 1


def test_meta_chunks_that_are_cut_are_counted(made, tokenizers, tmp_path):
    sparse = str(tokenizers / "sparse")
    card = nextlong.export(made / "long", tmp_path / "out", tokenizer=sparse, length=SHORT, workers=1)
    had = {one: sum(span["role"] == "meta" for span in row["spans"]) for one, row in sequences_of(made / "long").items()}
    whole = {row["id"]: sum(span["role"] == "meta" for span in row["spans"][:-1]) for row in rows_of(tmp_path / "out")}
    assert card["counts"]["meta_chunks_cut"] == sum(had.values()) - sum(whole.values()) > 0
    assert nextlong.verify(tmp_path / "out", workers=1).ok


def test_the_datasets_own_tokenizer_at_another_place_is_no_other_tokenizer(made, tokenizer_folder, tmp_path):
    moved = shutil.copytree(tokenizer_folder, tmp_path / "moved")
    card = nextlong.export(made / "short", tmp_path / "out", tokenizer=str(moved), length=LONG, workers=1)
    assert not card["parts"][0]["retokenized"] and card["parts"][0]["sequences_per_row"] == LONG // SHORT


def test_every_format_takes_another_tokenizer(made, tokenizers, tmp_path):
    nextlong.export(made / "long", tmp_path / "text", tokenizer=str(tokenizers / "sparse"), format="jsonl", workers=1)
    assert nextlong.verify(tmp_path / "text", workers=1).ok
