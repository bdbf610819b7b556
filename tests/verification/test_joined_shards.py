"""`verify` of shards that were joined: rows too many and too few, and the file read once for each worker."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tampering import forge_receipts

import nextlong
from nextlong.dataset import layout
from nextlong.formats import jsonl, numpy_tokens
from nextlong.formats.registry import FORMATS
from nextlong.formats.shards import JOINED, shard_paths
from nextlong.verification.shards import shard_groups, written_shards

FORMS = ("jsonl", "numpy", "parquet", "megatron")
LENGTH, ROOTS, SHARD_ROWS = 1024, 10, 2
SHARDS = 5


@pytest.fixture(scope="module")
def made(family_pool, tokenizer_folder, tmp_path_factory):
    """Of each format a dataset of five shards, joined; and an export of one of them."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SHARD_TOKENS", SHARD_ROWS * LENGTH)
        for form in FORMS:
            keys = {"length": LENGTH, "roots": ROOTS, "tokenizer": tokenizer_folder, "format": form, "merge": True}
            nextlong.synthesize(family_pool, folder / form, workers=1, **keys)
            assert len(list((folder / form / "sequences").iterdir())) == SHARDS
            nextlong.export(folder / "jsonl", folder / f"export-{form}", format=form, merge=True, workers=1)
    return folder


@pytest.fixture(params=[*FORMS, *(f"export-{form}" for form in FORMS)])
def joined(made, tmp_path, request):
    """A copy of one of them, and its format."""
    return Path(shutil.copytree(made / request.param, tmp_path / "data")), request.param.removeprefix("export-")


def failures(folder, workers=1):
    return [str(failure) for failure in nextlong.verify(folder, workers=workers).failures]


def rewrite(folder, form, *parts):
    """Put in place of the joined file what several of its like make together."""
    own = shard_paths(folder / "tokens", form, JOINED)
    new = [path.with_name(f".new{path.suffix}") for path in own]
    FORMATS[form].merge([own[0] if part == "itself" else part for part in parts], new)
    for path, replacement in zip(own, new, strict=True):
        replacement.replace(path)
    forge_receipts(folder)
    return own[0]


def test_what_is_whole_is_verified(joined):
    assert failures(joined[0]) == []


def test_rows_behind_the_last_are_found(joined):
    folder, form = joined
    path = rewrite(folder, form, "itself", "itself")
    found = failures(folder)
    assert len(found) == 1 and str(path) in found[0] and "has more rows than" in found[0]


@pytest.mark.parametrize("form", ["jsonl", "numpy"])
def test_rows_behind_the_last_are_found_by_several_workers(made, tmp_path, form):
    folder = Path(shutil.copytree(made / form, tmp_path / "data"))
    assert failures(folder, workers=2) == []
    rewrite(folder, form, "itself", "itself")
    found = failures(folder, workers=2)
    assert len(found) == 1 and "has more rows than" in found[0]


@pytest.mark.parametrize("form", FORMS)
def test_rows_that_are_missing_are_found(made, tmp_path, form):
    folder, other = (Path(shutil.copytree(made / form, tmp_path / name)) for name in ("data", "other"))
    few = {"length": LENGTH, "roots": ROOTS - 3, "format": form, "merge": True}
    card = nextlong.load_dataset_card(folder)
    shutil.rmtree(other)
    nextlong.synthesize(card["pool"]["folder"], other, workers=1, tokenizer=card["config"]["tokenizer"], **few)
    shutil.rmtree(folder / "tokens")
    shutil.copytree(other / "tokens", folder / "tokens")
    forge_receipts(folder)
    assert any("it is missing" in failure for failure in failures(folder))


def test_after_rows_in_another_order_the_next_shards_are_verified(made, tmp_path):
    """A row that is not the one expected ends its shard only."""
    folder = Path(shutil.copytree(made / "jsonl", tmp_path / "data"))
    (path,) = (folder / "tokens").iterdir()
    import zstandard

    lines = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read().splitlines(True)
    assert len(lines) == ROOTS
    lines[0], lines[1] = lines[1], lines[0]
    lines[5] = lines[5].replace(b'"text": "', b'"text": "X', 1)
    path.write_bytes(zstandard.compress(b"".join(lines)))
    forge_receipts(folder)
    found = failures(folder)
    assert "row 0 (nextlong-00000000): it is nextlong-00000001" in found[0]
    assert any("row 5 (nextlong-00000005): its text differs" in failure for failure in found)
    assert not any("more rows" in failure for failure in found)


@pytest.mark.parametrize("kind", ["", "export-"])
@pytest.mark.parametrize("form", ["jsonl", "numpy"])
def test_a_joined_file_is_read_once(made, monkeypatch, form, kind):
    """Not once for each shard, from its beginning: lines read are as many as rows; numpy checks its offsets before."""
    lines = 0

    def counted(some):
        nonlocal lines
        for line in some:
            lines += 1
            yield line

    if form == "jsonl":
        monkeypatch.setattr(jsonl, "islice", lambda some, *limits: islice(counted(some), *limits))
    else:
        read = numpy_tokens._lines
        monkeypatch.setattr(numpy_tokens, "_lines", lambda path: counted(read(path)))
    assert failures(made / f"{kind}{form}") == []
    assert lines == (ROOTS if form == "jsonl" else 2 * ROOTS)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 12))
def test_groups_of_joined_shards(made, sizes, workers):
    rows = {f"{number:05d}": size for number, size in enumerate(sizes)}
    groups = shard_groups(made / "jsonl" / "tokens", "jsonl", rows, workers)
    assert [shard.name for group in groups for shard in group] == list(rows)
    assert len(groups) <= workers
    shards = [shard for group in groups for shard in group]
    assert [shard.first for shard in shards] == [sum(sizes[:place]) for place in range(len(sizes))]
    assert [shard.last for shard in shards] == [False] * (len(sizes) - 1) + [True]
    assert all(sum(shard.rows for shard in group) <= sum(sizes) / workers + max(sizes) for group in groups)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=20)
@given(st.integers(1, 7), st.data())
def test_every_row_is_given_once_however_many_are_taken(made, workers, data):
    tokens = made / "jsonl" / "tokens"
    rows = {f"{number:05d}": SHARD_ROWS for number in range(SHARDS)}
    for group in shard_groups(tokens, "jsonl", rows, workers):
        for written in written_shards(tokens, "jsonl", group):
            taken = data.draw(st.integers(0, SHARD_ROWS))
            ids = [row.id for row in islice(written.rows, taken)]
            assert ids == [f"nextlong-{written.before + place:08d}" for place in range(taken)]
