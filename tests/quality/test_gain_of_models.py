"""The long-range gain by real models, against transformers' own losses of whole rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra `train`)")

for _folder in ("", "mining", "quality"):
    sys.path.insert(0, str(Path(__file__).parent.parent / _folder))

from cli_runs import run_cli  # noqa: E402
from corpora import GRANULARITY, make_documents, write_corpus  # noqa: E402
from test_causal_lm import ARCHITECTURES, make_folder  # noqa: E402

import nextlong  # noqa: E402
from nextlong.errors import NextlongError  # noqa: E402
from nextlong.inspection.opened import Dataset  # noqa: E402
from nextlong.mining.language_model import LanguageModel  # noqa: E402
from nextlong.quality.gain import gain  # noqa: E402
from nextlong.quality.long_range_gain import long_range_gain  # noqa: E402
from nextlong.quality.targets import OtherText, sequence_generator, targets, token_row  # noqa: E402

LENGTH, LOCAL, ROUNDING = 2048, 128, 1e-4


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """More threads make tiny models slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A tiny random model that reads 4,096 tokens, and two datasets."""
    folder = tmp_path_factory.mktemp("gain")
    made = make_folder(folder / "model")
    config = transformers.AutoConfig.for_model("llama", **(ARCHITECTURES["llama"] | {"max_position_embeddings": 4096}))
    config.vocab_size = 300
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        weight.data *= 4
    model.save_pretrained(made)
    documents = make_documents(60, 4, paragraphs=(4, 9))
    pool = nextlong.build_pool(
        write_corpus(folder / "corpus.jsonl", documents),
        folder / "pool",
        workers=1,
        chunking={"granularity": GRANULARITY // 2},
        encoder={"name": "lsa", "dimensions": 16},
    )
    for method in ("nextlong", "standard"):
        keys = {"length": LENGTH, "tokens": 2 * LENGTH, "tokenizer": str(made), "composition": {"method": method}}
        nextlong.synthesize(pool, folder / method, workers=1, **keys)
    return folder


def plain_losses(folder, row):
    """The loss of every token of a row but the first, from the scores of all places."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).float().eval()
    ids = torch.tensor([list(row)])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1].double()
    return -logits.log_softmax(1)[torch.arange(len(row) - 1), ids[0, 1:]].numpy()


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_losses_are_those_of_the_whole_row(architecture, tmp_path):
    folder = make_folder(tmp_path, architecture)
    row = np.random.default_rng(0).integers(0, 300, 100).astype(np.int32)
    places = np.array([1, 2, 40, 41, 42, 99])
    found = LanguageModel(str(folder), "This test").token_losses(row, places)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, plain_losses(folder, row)[places - 1], atol=ROUNDING)


def test_many_tokens_are_scored_in_parts(workshop):
    row = np.random.default_rng(1).integers(0, 300, 1200).astype(np.int32)
    found = LanguageModel(str(workshop / "model"), "This test").token_losses(row, np.arange(1, 1200))
    np.testing.assert_allclose(found, plain_losses(workshop / "model", row), atol=ROUNDING)


@pytest.mark.parametrize("method", ["nextlong", "standard"])
def test_gains_are_those_of_the_plain_way(workshop, method):
    """Every row is put together here and read on its own; each target has rows of its own."""
    dataset, model = Dataset(workshop / method), LanguageModel(str(workshop / "model"), "This test")
    found = long_range_gain(dataset, model, local=LOCAL).same_document
    sample, tokens = dataset.sample(32), transformers.AutoTokenizer.from_pretrained(workshop / "model")
    sums, count = np.zeros(3), 0
    for number, identity in enumerate(sample.ids):
        spans, generator = sample.spans.of(number), sequence_generator(0, identity)
        row = token_row(dataset.pool, spans, model.tokenizer, "\n\n", 4096 - 1)
        texts = dataset.pool.texts(spans.chunks[:-1])
        ids = [token for text in texts for part in (text, "\n\n") for token in tokens.encode(part, add_special_tokens=False)]
        assert row.ids.tolist() == ids
        for target in targets(row, LOCAL, generator):
            start, end = int(row.starts[target.place]), int(row.ends[target.place])
            instead = OtherText(dataset.pool, model.tokenizer, "\n\n").instead(row, target, generator)
            whole, local, other = (
                plain_losses(workshop / "model", [tokens.bos_token_id, *part])[-(end - start) :].sum()
                for part in (ids[:end], ids[start - LOCAL : end], instead.tolist())
            )
            sums += whole, local - whole, other - whole
            count += end - start
    assert found.tokens == count > 100
    expected = sums / count
    assert np.abs(expected).min() > 10 * ROUNDING  # there is something to get wrong
    gained = [found.loss, found.over_local.value, found.over_replaced.value]
    np.testing.assert_allclose(gained, expected, atol=ROUNDING)


def test_on_the_command_line(workshop):
    paths = [workshop / "nextlong", workshop / "standard"]
    options = ("--model", workshop / "model", "--local", LOCAL, "--sample", 2)
    result = run_cli("gain", *paths, *options, "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    expected = gain(paths, str(workshop / "model"), sample=2, local=LOCAL)
    assert [each["method"] for each in printed] == ["nextlong", "standard"]
    for one, other in zip(printed, expected, strict=True):
        assert one["same_document"]["over_replaced"]["value"] == pytest.approx(other.same_document.over_replaced.value)
    shown = run_cli("gain", *paths, *options)
    assert shown.exit_code == 0 and "nextlong (nextlong)" in shown.stdout
    assert f"{expected[1].same_document.loss:.3f}" in shown.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "no/such/model"), "no model folder"),
        (("--model", "MODEL", "--dtype", "int4"), "float32 or bfloat16"),
        (("--model", "MODEL", "--local", 4096), "no more than the local context"),
    ],
)
def test_what_makes_no_sense_is_told(workshop, options, says):
    given = [workshop / "model" if option == "MODEL" else option for option in options]
    result = run_cli("gain", workshop / "nextlong", *given)
    assert result.exit_code == 2 and says in result.stderr


def test_weights_that_are_no_numbers_are_told(tmp_path):
    folder = make_folder(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data[5] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(NextlongError, match="not a number"):
        LanguageModel(str(folder), "This test").token_losses(np.array([0, 7], dtype=np.int32), np.array([1]))
