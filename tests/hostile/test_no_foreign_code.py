"""Models, datasets and recipes of strangers: their code is not run, their pickles are not loaded."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from cli_runs import run_cli
from small_runs import POOL_OPTIONS, write_corpus

from nextlong.config import CorpusConfig, EncoderConfig, load_recipe
from nextlong.corpus import find_sources, read_source
from nextlong.embedding.registry import load_encoder
from nextlong.embedding.sentence_transformer import _check_folder
from nextlong.errors import NextlongError, UsageError

MARK = "ran-foreign-code"


class Evil:
    """Leaves a mark when it is loaded from a pickle."""

    def __reduce__(self):
        return (exec, (CODE,))


CODE = f"import pathlib; pathlib.Path({MARK!r}).write_text('')"


@pytest.fixture(autouse=True)
def unmarked(tmp_path, monkeypatch):
    """A folder in which foreign code would leave its mark."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists()


def test_the_mark_is_left_where_a_pickle_is_loaded(tmp_path):
    pickle.loads(pickle.dumps(Evil()))  # noqa: S301
    assert (tmp_path / MARK).exists()
    (tmp_path / MARK).unlink()


def test_a_recipe_cannot_trust_remote_code(tmp_path):
    (tmp_path / "recipe.yaml").write_text("pool: {encoder: {name: 'sentence-transformers:a/b', trust_remote_code: true}}")
    with pytest.raises(UsageError, match="may not trust remote code"):
        load_recipe(tmp_path / "recipe.yaml")
    result = run_cli("index", "demo", "--recipe", "recipe.yaml", "--out", "pool")
    assert result.exit_code == 2 and "give --trust-remote-code" in result.stderr


def model_folder(folder, modules):
    """A sentence-transformers model with these modules, code of its own and weights as a pickle."""
    folder.mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "custom.py").write_text(CODE)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": {"AutoModel": "custom.Model"}}))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    return folder


TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}


@pytest.mark.parametrize("modules", ([{**TRANSFORMER, "type": "custom.Model"}], [TRANSFORMER]), ids=("code", "pickle"))
def test_a_model_folder_runs_no_code_and_loads_no_pickle(tmp_path, modules):
    pytest.importorskip("sentence_transformers", reason="the extra `sentence-transformers` is not installed")
    folder = model_folder(tmp_path / "model", modules)
    with pytest.raises(NextlongError, match=r"runs code of its own|only as a pickle"):
        load_encoder(EncoderConfig(name=f"sentence-transformers:{folder}"))


@pytest.mark.parametrize("modules", ([{}], ["x"], 3, None, {"types": [1]}, {"types": None}))
def test_a_model_folder_that_does_not_say_its_modules(tmp_path, modules):
    with pytest.raises(NextlongError, match=r"modules\.json is damaged"):
        _check_folder(model_folder(tmp_path / "model", modules), trusted=False)


def test_a_scorer_folder_runs_no_code_and_loads_no_pickle(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
    pytest.importorskip("transformers", reason="transformers is not installed (extra `train`)")
    from nextlong.mining.scoring import load_scorer
    from nextlong.tokenization.train import train_byte_level_bpe

    folder = model_folder(tmp_path / "model", [])
    train_byte_level_bpe(["some words of a text"], 300, folder)
    for config in ({"model_type": "custom", "auto_map": {"AutoModelForCausalLM": "custom.Model"}}, {"model_type": "gpt2"}):
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(NextlongError, match="Cannot load the model"):
            load_scorer(f"causal-lm:{folder}")


@pytest.mark.parametrize("encoder", ("static", "minilm"))
def test_a_folder_of_pickles_is_no_encoder(tmp_path, encoder):
    folder = model_folder(tmp_path / "model", [])
    for name in ("model.safetensors", "tokenizer.json", "embeddings.npy"):
        (folder / name).write_bytes(pickle.dumps(Evil()))
    with pytest.raises(NextlongError):
        load_encoder(EncoderConfig(name=f"{encoder}:{folder}"))


def test_a_script_in_a_dataset_folder_is_not_run(tmp_path):
    pytest.importorskip("datasets", reason="the extra `hf` is not installed")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.py").write_text(CODE)
    with pytest.raises(NextlongError):
        find_sources(CorpusConfig(inputs=(f"hf:{tmp_path / 'data'}",)))


def test_a_saved_dataset_names_no_file_outside_its_folder(tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    (tmp_path / "secret.arrow").write_bytes(b"")
    (folder / "dataset_info.json").write_text("{}")
    for name in ("../secret.arrow", str(tmp_path / "secret.arrow"), "", 7):
        state = {"_data_files": [{"filename": name}], "_fingerprint": "f", "_split": "train"}
        (folder / "state.json").write_text(json.dumps(state))
        with pytest.raises(NextlongError):
            find_sources(CorpusConfig(inputs=(str(folder),)))


def test_arrow_extension_types_do_not_unpickle(tmp_path):
    pa = pytest.importorskip("pyarrow")
    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Evil()),
    }
    schema = pa.schema([pa.field("text", pa.string(), metadata=metadata)])
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a document"]}, schema=schema), tmp_path / "a.parquet")
    config = CorpusConfig(inputs=(str(tmp_path / "a.parquet"),))
    (source,) = find_sources(config)
    list(read_source(source, config))


def test_pickles_in_a_pool_are_not_loaded(tmp_path):
    write_corpus(tmp_path / "corpus", files=1, documents=6)
    assert run_cli("index", "corpus", "--out", "pool", *POOL_OPTIONS, "--workers", 1, "--quiet").exit_code == 0
    arrays = sorted((tmp_path / "pool").rglob("*.npy"))
    assert len(arrays) >= 5
    for path in arrays:
        good = path.read_bytes()
        for evil in (pickle.dumps(Evil()), None):
            if evil is None:
                np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
            else:
                path.write_bytes(evil)
            forge(tmp_path / "pool")
            result = run_cli("verify", "pool", "--workers", 1)
            assert result.exit_code == 1 and path.name in result.stderr, (path, result)
            assert "damaged" in result.stderr or "Cannot read the vectors" in result.stderr
        path.write_bytes(good)
    forge(tmp_path / "pool")
    assert run_cli("verify", "pool", "--workers", 1).exit_code == 0


def forge(folder):
    """Make the receipts agree with the files as they are."""
    from nextlong.execution.files import checksum, read_record, write_record

    for path in folder.glob("receipts/*/*.json"):
        receipt = read_record(path)
        for output, entry in receipt["outputs"].items():
            entry["checksum"], entry["bytes"] = checksum(folder / output), (folder / output).stat().st_size
        write_record(path, receipt)
