"""Static vectors: the vector of a text is the mean of its tokens' vectors, from a table. The default: fast, and good enough.

The table is distilled from MiniLM on first use (some 30 seconds, once a machine) or comes from a model2vec folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nextlong.config import EncoderConfig
from nextlong.embedding.cache import built_once, is_built
from nextlong.embedding.protocol import Vectors
from nextlong.embedding.wordpiece import flat_tokenizer
from nextlong.errors import NextlongError, UsageError

# Goes into the fingerprint; raise it when a vector changes.
_VERSION = 1

# Texts tokenised at once: bounds memory, and keeps all cores busy.
_BATCH = 1024


class StaticEncoder:
    """Reads the whole text, however long. A text without a known token gets the zero vector."""

    max_workers: int | None = None
    takes_gpu = False
    quick = True

    def __init__(self, config: EncoderConfig, model: str = "") -> None:
        """Load the table, or distil it.

        Args:
            model: a model2vec folder or Hugging Face name; empty for the table distilled from MiniLM.
        """
        self.name = config.name
        if model:
            table, tokenizer = _load(model)
            if config.dimensions is not None and config.dimensions > table.shape[1]:
                raise UsageError(
                    f"The static model {model} has {table.shape[1]} dimensions, fewer than {config.dimensions}."
                )
        else:
            table, tokenizer = _load_distilled(distilled_folder(config.dimensions))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenize = flat_tokenizer(tokenizer)
        self._table = np.ascontiguousarray(table[:, : config.dimensions])
        self.dimensions = int(self._table.shape[1])
        content = xxhash.xxh3_64(self._table.tobytes())
        content.update(tokenizer.to_str().encode())
        self.fingerprint = f"static-{_VERSION}-{content.hexdigest()}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to float32, shape ``(len(texts), dimensions)``, not normalised; see the protocol."""
        from scipy.sparse import csr_matrix

        sums = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            ids, starts = self._tokenize(batch)
            lengths = np.diff(starts)
            # Tokens times table as a sparse product: one pass, each row summed in text order, whatever the other rows are.
            shares = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
            counts = csr_matrix((shares, ids, starts), shape=(len(batch), len(self._table)))
            sums[start : start + len(batch)] = counts @ self._table
        return sums


def distilled_folder(dimensions: int | None = None) -> Path:
    """The model2vec folder distilled from MiniLM; made on first use and kept in the user's cache.

    Raises:
        NextlongError: MiniLM is not installed.
        UsageError: wider than MiniLM's vectors.
    """
    from nextlong.embedding import distillation
    from nextlong.embedding.minilm import DIMENSIONS, load_minilm

    width = dimensions or distillation.DIMENSIONS
    if width > DIMENSIONS:
        raise UsageError(f"The encoder `static` has at most {DIMENSIONS} dimensions; {width} were asked for.")
    return built_once(_cache_name(width), lambda folder: distillation.distil(load_minilm(), folder, width))


def is_distilled(dimensions: int | None = None) -> bool:
    """Whether this machine has the folder already."""
    from nextlong.embedding import distillation

    return is_built(_cache_name(dimensions or distillation.DIMENSIONS))


def _cache_name(width: int) -> str:
    # Named without opening the weights: a machine that has the folder needs neither them nor onnxruntime.
    from nextlong.embedding import distillation
    from nextlong.embedding.minilm import PUBLISHED_SHA256

    return f"static-{distillation.VERSION}-{width}-{PUBLISHED_SHA256[:16]}"


def _load_distilled(folder: Path) -> tuple[Vectors, Any]:
    """Table and tokenizer that this package wrote; without model2vec, whose import takes longer than all the rest."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    return load_file(folder / "model.safetensors")["embeddings"].astype(np.float32), Tokenizer.from_file(
        str(folder / "tokenizer.json")
    )


def _load(model: str) -> tuple[Vectors, Any]:
    """Table and tokenizer of a model2vec folder or name; a token that is not known has a row of zeros."""
    try:
        from model2vec import StaticModel

        static: Any = StaticModel.from_pretrained(str(Path(model).expanduser()))
    except Exception as error:  # model2vec lets every library's own errors through
        raise NextlongError(
            f"Cannot load the static model {model}: {error}",
            "Give a model2vec folder, or a Hugging Face name that can be reached.",
        ) from error
    table = np.array(static.embedding, dtype=np.float32)
    # A model with a quantised vocabulary shares rows among tokens and weighs them apart; here it is spelled out.
    if (mapping := getattr(static, "token_mapping", None)) is not None:
        table = table[mapping]
    if (weights := getattr(static, "weights", None)) is not None:
        table *= np.asarray(weights, dtype=np.float32)[:, None]
    if static.unk_token_id is not None:
        table[static.unk_token_id] = 0
    return table, static.tokenizer
