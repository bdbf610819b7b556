"""Figures of datasets against their own table, read without nextlong; and of spans that are known by hand."""

from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nextlong
from nextlong.errors import NextlongError, UsageError
from nextlong.inspection.dataset_figures import dataset_figures, distances
from nextlong.inspection.opened import DOCUMENT, META, NEGATIVE, Dataset, Spans
from nextlong.inspection.stats import stats


def rows_of(folder):
    return pq.read_table(folder / "sequences").to_pylist()


def spans_of(columns, starts):
    """Spans from (role, document, token start, token end)."""
    roles, documents, begins, ends = (np.array(column) for column in zip(*columns, strict=True))
    none = np.zeros(len(roles), dtype=np.int32)
    places = begins.astype(np.int32), ends.astype(np.int32)
    return Spans(
        np.array(starts), roles.astype(np.int8), documents, documents * 10, none, none, none.astype(np.float32), *places
    )


def test_distances_are_from_the_end_of_a_meta_chunk_to_the_next_of_its_sequence():
    columns = [
        (META, 7, 0, 10), (NEGATIVE, 1, 10, 50), (META, 7, 50, 60), (NEGATIVE, 1, 60, 75), (META, 7, 75, 80),
        (META, 7, 0, 20), (NEGATIVE, 7, 20, 30), (META, 7, 30, 40),
    ]  # fmt: skip
    assert distances(spans_of(columns, [0, 5, 8])).tolist() == [40, 15, 10]


def test_without_meta_chunks_distances_are_of_each_document():
    columns = [
        (DOCUMENT, 1, 0, 10),
        (DOCUMENT, 2, 10, 30),
        (DOCUMENT, 1, 30, 40),
        (DOCUMENT, 2, 45, 50),
        (DOCUMENT, 3, 50, 60),
    ]
    assert distances(spans_of(columns, [0, 5])).tolist() == [20, 15]
    assert distances(spans_of(columns, [0, 2, 5])).tolist() == []


@pytest.mark.parametrize("method", ("nextlong", "standard", "knn"))
def test_figures_are_those_of_the_table(looked_at, family_pool, method):
    folder = looked_at[method]
    figures, rows = stats(folder), rows_of(folder)
    assert (figures.kind, figures.method, figures.length) == ("dataset", method, rows[0]["length"])
    assert (figures.looked_at, figures.whole) == (len(rows), True)
    spans = [span for row in rows for span in row["spans"]]
    tokens = Counter()
    for span in spans:
        tokens[span["role"]] += span["token_end"] - span["token_start"]
    assert figures.tokens_by_role == dict(tokens)
    assert {role: each.count for role, each in figures.chunk_tokens.items()} == Counter(span["role"] for span in spans)
    documents = {span["document"] for span in spans}
    assert figures.document_chunks.count == figures.document_characters.count == len(documents)
    assert figures.documents_per_sequence.mean == pytest.approx(
        np.mean([len({span["document"] for span in row["spans"]}) for row in rows])
    )
    uses = Counter(chunk for row in rows for chunk in {span["chunk"] for span in row["spans"]})
    assert figures.quality.reuse.by_uses == Counter(uses.values())
    assert sum(source.tokens for source in figures.sources) == sum(tokens.values())
    scores = [span["score"] for span in spans if span["role"] == "negative" and 2 <= span["rank"] <= 3]
    ranked = [each for each in figures.similarity_by_rank if each.first == 2]
    assert [(each.negatives, each.mean) for each in ranked] == (
        [(len(scores), pytest.approx(np.mean(scores)))] if scores else []
    )
    assert {each.folder for each in figures.stages} == {"pool", "dataset"}


def test_rows_come_from_where_the_corpus_says(looked_at, family_pool):
    figures = stats(looked_at["standard"])
    assert figures.source_count == 1
    characters = family_pool.characters_by_document()
    used = {span["document"] for row in rows_of(looked_at["standard"]) for span in row["spans"]}
    ids = family_pool.document_ids(np.arange(family_pool.documents))
    assert figures.document_characters.mean == pytest.approx(
        np.mean([c for c, i in zip(characters, ids, strict=True) if i in used])
    )


def test_a_sample_is_drawn_from_all_and_is_the_same_again(looked_at):
    dataset = Dataset(looked_at["nextlong"])
    one = dataset.sample(5, seed=1)
    assert len(one) == 5
    assert not one.whole
    assert one.ids == dataset.sample(5, seed=1).ids
    assert one.ids == sorted(one.ids)
    drawn = {identity for seed in range(40) for identity in dataset.sample(5, seed).ids}
    assert drawn == {row["id"] for row in rows_of(looked_at["nextlong"])}
    every = {row["id"]: row for row in rows_of(looked_at["nextlong"])}
    for place, identity in enumerate(one.ids):
        own, spans = one.spans.of(place), every[identity]["spans"]
        assert own.chunks.tolist() == [span["chunk"] for span in spans]
        assert own.token_ends.tolist() == [span["token_end"] for span in spans]
    assert dataset_figures(dataset, one).looked_at == 5


def test_a_damaged_table_is_an_error_for_people(looked_at, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(looked_at["nextlong"], folder)
    path = next((folder / "sequences").glob("*.parquet"))
    table = pq.read_table(path)
    spans = table.column("spans").combine_chunks()
    wrong = pa.array(np.full(len(spans.flatten()), 10**9))
    fields = [wrong if field.name == "chunk" else spans.flatten().field(field.name) for field in spans.type.value_type]
    lists = pa.ListArray.from_arrays(
        spans.offsets, pa.StructArray.from_arrays(fields, fields=list(spans.type.value_type)), type=spans.type
    )
    pq.write_table(table.set_column(table.schema.get_field_index("spans"), table.schema.field("spans"), lists), path)
    with pytest.raises(NextlongError, match="names chunks that its pool does not have"):
        stats(folder)
    path.write_bytes(b"PAR1")
    with pytest.raises(NextlongError, match="is missing or damaged"):
        stats(folder)


def test_an_export_is_refused(looked_at, tmp_path):
    import nextlong

    nextlong.export(looked_at["standard"], tmp_path / "out", format="jsonl", workers=1)
    with pytest.raises(UsageError, match="is an export"):
        stats(tmp_path / "out")


@pytest.mark.parametrize("look", (lambda data: data.sample(), lambda data: data.numbered(99), lambda data: [*data.tables()]))
def test_missing_files_are_noticed(looked_at, tmp_path, look):
    folder = shutil.copytree(looked_at["nextlong"], tmp_path / "data")
    next((folder / "sequences").glob("*.parquet")).unlink()
    with pytest.raises(NextlongError, match="holds 0 sequences, and the dataset has 12"):
        look(Dataset(folder))


def test_stages_are_those_of_the_last_configuration(family_pool, tokenizer_folder, tmp_path):
    keys = {"length": 1024, "tokenizer": tokenizer_folder, "workers": 1}
    nextlong.synthesize(family_pool, tmp_path / "data", roots=5, **keys)
    nextlong.synthesize(family_pool, tmp_path / "data", roots=3, seed=8, overwrite=True, **keys)
    done = {each.stage: each.done for each in stats(tmp_path / "data").stages if each.folder == "dataset"}
    assert done["plan"] == done["compose"] == done["write"] == 3


def test_a_dataset_is_called_as_its_folder_wherever_one_stands(looked_at, monkeypatch):
    monkeypatch.chdir(looked_at["knn"])
    assert [Dataset(path).name for path in (".", "../knn", looked_at["knn"])] == ["knn"] * 3


def test_damaged_metrics_keep_nobody_from_looking(looked_at, tmp_path):
    folder = shutil.copytree(looked_at["nextlong"], tmp_path / "data")
    before = stats(folder).stages
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'7\n{"stage": "compose"}\n\xff\n{"stage": "comp')
    assert before
    assert stats(folder).stages == before
