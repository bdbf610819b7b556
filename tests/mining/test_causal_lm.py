"""The gain of candidates by a causal language model, against the plainest way to compute it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra `train`)")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra `train`)")

from nextlong.errors import NextlongError, UsageError  # noqa: E402
from nextlong.mining.scoring import Scorer, load_scorer  # noqa: E402
from nextlong.tokenization.train import train_byte_level_bpe  # noqa: E402

WORDS = [
    "the",
    "index",
    "of",
    "a",
    "pool",
    "holds",
    "vectors",
    "while",
    "chunks",
    "wait",
    "to",
    "be",
    "drawn",
    "by",
    "turns",
]
# How far float rounding may move a score of a tiny model.
ROUNDING = 1e-4


def prose(words, seed):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


META = prose(40, seed=0)
# Lengths from nothing to longer than a row, so that batches are ragged.
CANDIDATES = [prose(words, seed=1 + words) for words in (30, 3, 0, 90, 12, 200, 1, 57, 30, 8, 5)]
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128}
LLAMA = {"intermediate_size": 64, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1, **TINY}
# Other ways to know positions and to treat scores: learned positions, attention in windows and capped scores.
ARCHITECTURES = {
    "llama": LLAMA,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gemma2": {**LLAMA, "head_dim": 8, "sliding_window": 16, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
}


def make_folder(folder, architecture="llama", bos=True, seed=0):
    """A tiny random model and a tokenizer in a folder."""
    train_byte_level_bpe([prose(400, seed=99)], 300, folder)
    if not bos:
        for file in ("tokenizer_config.json", "special_tokens_map.json"):
            content = json.loads((folder / file).read_text())
            del content["bos_token"]
            (folder / file).write_text(json.dumps(content))
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(architecture, vocab_size=300, **ARCHITECTURES[architecture])
    model = transformers.AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():  # larger than usual, so that predictions and gains are far from uniform
        weight.data *= 4
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """More threads make tiny models slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("model"))


def plain_gains(folder, meta_chunk, candidates, window=128, separator="\n\n"):
    """One pair at a time, all scores of all positions, token by token, with transformers' own tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).float().eval()
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    meta = tokenizer.encode(meta_chunk, add_special_tokens=False)[: window // 2]
    counted = range(0 if bos else 1, len(meta))

    def loss(context):
        row = bos + context + meta
        assert len(row) <= window
        with torch.no_grad():
            logits = model(torch.tensor([row])).logits[0].double()
        begin = len(bos) + len(context)
        return -np.mean([logits[begin + i - 1].log_softmax(0)[meta[i]].item() for i in counted])

    alone = loss([])
    gains = []
    for candidate in candidates:
        context = tokenizer.encode(candidate + separator, add_special_tokens=False)
        while len(bos) + len(context) + len(meta) > window:
            context = context[1:]
        gains.append(alone - loss(context))
    return np.array(gains)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_gains_are_those_of_the_plain_way(architecture, bos, tmp_path):
    folder = make_folder(tmp_path, architecture, bos)
    gains = load_scorer(f"causal-lm:{folder}", batch_size=4).score(META, CANDIDATES)
    assert gains.dtype == np.float32 and gains.shape == (len(CANDIDATES),)
    expected = plain_gains(folder, META, CANDIDATES)
    assert np.abs(expected).max() > 100 * ROUNDING  # there is something to get wrong
    np.testing.assert_allclose(gains, expected, atol=ROUNDING)


def test_a_batch_changes_no_score(folder):
    alone = load_scorer(f"causal-lm:{folder}", batch_size=1).score(META, CANDIDATES)
    for batch_size in (2, 8, 100):
        together = load_scorer(f"causal-lm:{folder}", batch_size=batch_size).score(META, CANDIDATES)
        np.testing.assert_allclose(together, alone, atol=ROUNDING)


def test_other_candidates_of_the_call_change_no_score(folder):
    scorer = load_scorer(f"causal-lm:{folder}")
    together = scorer.score(META, CANDIDATES)
    np.testing.assert_allclose([scorer.score(META, [one])[0] for one in CANDIDATES], together, atol=ROUNDING)
    np.testing.assert_allclose(scorer.score(META, CANDIDATES[::-1])[::-1], together, atol=ROUNDING)


def test_the_same_call_gives_the_same_bits(folder):
    first = load_scorer(f"causal-lm:{folder}")
    second = load_scorer(f"causal-lm:{folder}")
    expected = first.score(META, CANDIDATES)
    torch.manual_seed(5)
    assert np.array_equal(first.score(META, CANDIDATES), expected)
    assert np.array_equal(second.score(META, CANDIDATES), expected)


@pytest.mark.parametrize("window", [16, 33, 64])
def test_a_small_window_cuts_as_the_plain_way_does(folder, window):
    gains = load_scorer(f"causal-lm:{folder}", window=window).score(META, CANDIDATES)
    np.testing.assert_allclose(gains, plain_gains(folder, META, CANDIDATES, window), atol=ROUNDING)


def test_only_the_end_of_a_long_candidate_and_the_head_of_a_long_meta_chunk_count(folder):
    scorer = load_scorer(f"causal-lm:{folder}", window=64)
    candidate = prose(300, seed=7)
    gain = scorer.score(META, [candidate])[0]
    assert scorer.score(META, ["another beginning " + candidate])[0] == pytest.approx(gain, abs=ROUNDING)
    assert scorer.score(META, [candidate + " another end"])[0] != pytest.approx(gain, abs=10 * ROUNDING)
    assert scorer.score(META + " another end", [candidate])[0] == pytest.approx(gain, abs=ROUNDING)
    assert scorer.score("another beginning " + META, [candidate])[0] != pytest.approx(gain, abs=10 * ROUNDING)


def test_the_separator_stands_between(folder):
    scorer = load_scorer(f"causal-lm:{folder}", separator=" | ")
    expected = plain_gains(folder, META, CANDIDATES, separator=" | ")
    np.testing.assert_allclose(scorer.score(META, CANDIDATES), expected, atol=ROUNDING)


def test_the_names_of_special_tokens_in_a_text_are_text(tmp_path):
    """As the one token it names, this meta-chunk would have nothing to count without a BOS, and gain 0."""
    make_folder(tmp_path, bos=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer.encode("<|end_of_text|>", add_special_tokens=False)) == 1
    assert load_scorer(f"causal-lm:{tmp_path}").score("<|end_of_text|>", ["a"])[0] != 0


def test_scores_of_the_vocabulary_are_made_for_counted_tokens_only(folder):
    made = []

    def note(module, inputs, output):
        if isinstance(module, torch.nn.Linear) and module.out_features == 300:
            made.append(tuple(output.shape))

    scorer = load_scorer(f"causal-lm:{folder}", batch_size=4, window=100)
    handle = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        scorer.score(META, CANDIDATES)
    finally:
        handle.remove()
    assert made == [(4, 50, 300)] * 3  # twelve rows: eleven candidates and the meta-chunk alone


def test_nothing_to_score_or_to_predict(folder, tmp_path):
    scorer = load_scorer(f"causal-lm:{folder}")
    assert scorer.score(META, []).shape == (0,) and scorer.score(META, []).dtype == np.float32
    assert scorer.score("", ["a", "b"]).tolist() == [0, 0]
    assert scorer.score("z", ["a"])[0] != 0  # predicted from BOS
    without = load_scorer(f"causal-lm:{make_folder(tmp_path, bos=False)}")
    assert without.score("z", ["a"]).tolist() == [0]


def test_a_candidate_that_has_the_text_helps_more_than_an_unrelated_one(tmp_path):
    """A model that has learned to copy what stands a fixed number of tokens before."""
    make_folder(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    digits, length, batch = "0123456789", 8, 64  # digits are tokens of their own
    ids, separator = (torch.tensor(tokenizer.encode(text, add_special_tokens=False)) for text in (digits, "\n\n"))
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model("llama", vocab_size=300, **LLAMA)
    model = transformers.AutoModelForCausalLM.from_config(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        text = ids[torch.randint(len(ids), (batch, length))]
        rows = torch.cat([torch.zeros(batch, 1, dtype=int), text, separator.expand(batch, -1), text], dim=1)
        logits = model(rows).logits[:, -length - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), text.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.05:
            break
    assert loss.item() < 0.05, "the model of this test has not learned to copy"
    model.save_pretrained(tmp_path)
    generator = np.random.default_rng(3)
    texts = ["".join(generator.choice(list(digits), length)) for _ in range(6)]
    scorer = load_scorer(f"causal-lm:{tmp_path}")
    for place, text in enumerate(texts):
        gains = scorer.score(text, texts)
        assert gains[place] > 1 and gains[place] > np.delete(gains, place).max() + 1


def test_half_precision_is_near_and_float32_all_the_same(folder):
    half = load_scorer(f"causal-lm:{folder}", dtype="bfloat16").score(META, CANDIDATES)
    full = load_scorer(f"causal-lm:{folder}").score(META, CANDIDATES)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.1


def test_the_fingerprint_changes_with_what_changes_scores(folder, tmp_path):
    base = load_scorer(f"causal-lm:{folder}")
    assert isinstance(base, Scorer)
    seen = {base.fingerprint}

    def is_new(**settings):
        fingerprint = load_scorer(f"causal-lm:{copy}", **settings).fingerprint
        assert fingerprint not in seen
        seen.add(fingerprint)

    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("a description")
    assert load_scorer(f"causal-lm:{copy}", device="cpu", window=128).fingerprint == base.fingerprint
    for settings in ({"window": 64}, {"separator": " "}, {"batch_size": 3}, {"dtype": "bfloat16"}):
        is_new(**settings)
    edit(copy / "config.json", rms_norm_eps=1e-3)
    is_new()
    edit(copy / "tokenizer_config.json", bos_token="<|end_of_text|>")
    is_new()
    make_folder(copy, seed=1)
    is_new()


def edit(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("without", "says"),
    [("tokenizer.json", "tokenizer.json"), ("model.safetensors", "Cannot load the model"), ("config.json", "Cannot load")],
)
def test_a_folder_that_lacks_a_file_is_told(folder, tmp_path, without, says):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / without).unlink()
    with pytest.raises(NextlongError, match=says):
        load_scorer(f"causal-lm:{copy}")


def test_weights_that_would_be_random_are_told(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    edit(copy / "config.json", num_hidden_layers=3)
    with pytest.raises(NextlongError, match="lacks weights"):
        load_scorer(f"causal-lm:{copy}")


def test_another_models_tokenizer_is_told(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    train_byte_level_bpe(
        [prose(400, seed=99), "a wholly other vocabulary of more tokens than three hundred " * 3], 330, copy
    )
    with pytest.raises(NextlongError, match="do not belong together"):
        load_scorer(f"causal-lm:{copy}")


def test_broken_weights_are_told(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(copy)
    model.lm_head.weight.data[5] = float("nan")
    model.save_pretrained(copy)
    with pytest.raises(NextlongError, match="not a number"):
        load_scorer(f"causal-lm:{copy}").score(META, CANDIDATES)


def test_no_such_model_window_or_device(folder, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no model folder"):
        load_scorer(f"causal-lm:{tmp_path}/missing")
    with pytest.raises(UsageError, match="128 tokens"):
        load_scorer(f"causal-lm:{folder}", window=129)
    with pytest.raises(NextlongError, match="device"):
        load_scorer(f"causal-lm:{folder}", device="abacus")


def test_a_name_of_the_hub_is_taken_from_its_cache(folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NextlongError, match="cannot be downloaded"):
        load_scorer("causal-lm:owner/tiny")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit)
    assert load_scorer("causal-lm:owner/tiny").fingerprint == load_scorer(f"causal-lm:{folder}").fingerprint
