"""A static model out of a BERT encoder: one vector for each token of its vocabulary.

The idea is model2vec's: encode every token by itself, keep the main directions, weigh tokens by how rare they are. The
vector of a text is then a mean of table rows, hundreds of times faster than the encoder.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nextlong.embedding.minilm import BertModel

DIMENSIONS = 256

# Goes into the cache's name; raise it when the table changes.
VERSION = 1

# Smooth inverse frequency (Arora et al. 2017): a token of probability p weighs a / (a + p); a as in model2vec.
_SIF = 1e-4

# All inputs are three tokens long, so this only bounds memory.
_BATCH = 512

# Tokens that BERT reserves and no text contains.
_UNUSED = re.compile(r"\[unused\d+\]")

Table = npt.NDArray[np.float32]


def distil(model: BertModel, folder: Path, dimensions: int = DIMENSIONS) -> None:
    """Write a model2vec folder (``model.safetensors``, ``tokenizer.json``, ``config.json``).

    Args:
        dimensions: width of the vectors, at most the model's.
    """
    from safetensors.numpy import save_file

    tokens = [token for token, _ in sorted(model.tokenizer.get_vocab().items(), key=lambda item: item[1])]
    special = {token.content for token in model.tokenizer.get_added_tokens_decoder().values() if token.special}
    kept = [row for row, token in enumerate(tokens) if token not in special and not _UNUSED.fullmatch(token)]
    # Dropped tokens keep a zero row, so that token ids stay row numbers.
    table = np.zeros((len(tokens), dimensions), dtype=np.float32)
    table[kept] = principal_components(_token_vectors(model, kept), dimensions) * _rarity(len(kept))[:, None]
    save_file({"embeddings": table.astype(np.float16)}, folder / "model.safetensors")
    model.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    about = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "apply_pca": dimensions,
        "sif_coefficient": _SIF,
        "hidden_dim": dimensions,
        "seq_length": 1_000_000,
        "max_length": None,
        "normalize": True,
        "embedding_dtype": "float16",
        "distilled_from": model.fingerprint,
    }
    (folder / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def principal_components(rows: Table, dimensions: int) -> Table:
    """Rows in the coordinates of their main directions, centred; the sign of each is fixed, so the result is unique.

    Args:
        rows: float32, ``(n, d)``.

    Returns:
        float32, ``(n, dimensions)``, the direction of most variance first.
    """
    from threadpoolctl import threadpool_limits

    # One thread and double precision: the order of sums would show in the last bits, and the table is hashed.
    with threadpool_limits(1, user_api="blas"):
        centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
        _, directions = np.linalg.eigh(centred.T @ centred)
        directions = directions[:, ::-1][:, :dimensions]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
        components: Table = (centred @ directions).astype(np.float32)
    return components


def _token_vectors(model: BertModel, token_ids: list[int]) -> Table:
    """What the model makes of each token alone, between its special tokens: float32, ``(len(token_ids), d)``."""
    # The special tokens' ids come from an encoded empty text, whatever the model calls them.
    frame = model.encode([""])[0]
    begin, end = frame[: len(frame) // 2 + len(frame) % 2], frame[len(frame) // 2 + len(frame) % 2 :]
    inputs = np.array([[*begin, token, *end] for token in token_ids], dtype=np.int64)
    return np.concatenate([model.vectors(inputs[start : start + _BATCH]) for start in range(0, len(inputs), _BATCH)])


def _rarity(count: int) -> Table:
    """Weights of tokens in order of frequency, which is how vocabularies are sorted, by Zipf's law."""
    share = 1 / np.arange(2, count + 2)
    probability = share / share.sum()
    weights: Table = (_SIF / (_SIF + probability)).astype(np.float32)
    return weights
