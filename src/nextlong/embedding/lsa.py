"""Latent semantic analysis: word counts, weighted by rarity, projected on the corpus's main directions.

Fitted on a sample of the corpus itself, so it needs no weights and no download, and works for any language that
separates words. It knows no synonyms that the corpus does not teach it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Vectors
from nextlong.errors import NextlongError

DIMENSIONS = 256

# Terms are hashed to this many columns: with 256 dimensions the model has up to 64 MiB, and a technical corpus of some
# 100,000 distinct terms shares a column between two rare terms now and then, which rarely meets in one chunk.
_COLUMNS = 2**16

# Any fixed value; the randomised decomposition must give the same model for the same sample.
_SEED = 0

# Goes into the fingerprint; raise it when a vector changes.
_VERSION = 2


def fit(texts: Iterable[str], path: Path, dimensions: int) -> None:
    """Fit on texts and write the model (safetensors).

    Args:
        texts: the sample; at least two texts with different words. With fewer texts than ``dimensions`` the vectors
            are only as wide as there are texts.

    Raises:
        NextlongError: no text has a word.
    """
    from safetensors.numpy import save
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    counts = _counts(texts)
    known = int(np.count_nonzero(np.diff(counts.indptr)))
    if known == 0:
        raise NextlongError(
            f"The encoder `lsa` cannot be fitted: none of {counts.shape[0]} texts has a word.",
            "Use another encoder for text without words of letters or digits.",
        )
    frequency = np.bincount(counts.indices, minlength=_COLUMNS)
    # Smoothed, so that a term the sample lacks weighs most, not infinitely.
    rarity = (np.log((1 + counts.shape[0]) / (1 + frequency)) + 1).astype(np.float32)
    weighted = normalize(counts.multiply(rarity).tocsr())
    # A term that the sample lacks has no direction. Without its column the decomposition is quicker, and cannot leave
    # rounding noise in its row, which would pass for a vector of a text with no known term.
    columns = np.flatnonzero(frequency)
    svd = TruncatedSVD(min(dimensions, known, len(columns)), algorithm="randomized", random_state=_SEED)
    # The number of BLAS threads changes the order of sums, and so the last bits.
    # Where all texts are alike the share of explained variance, which is not used, is 0 / 0.
    with threadpool_limits(1, user_api="blas"), np.errstate(invalid="ignore"):
        svd.fit(weighted[:, columns])
    projection = np.ascontiguousarray((svd.components_ * rarity[columns]).T, dtype=np.float32)
    # One metadata key only: safetensors writes several in no fixed order.
    about = json.dumps({"encoder": "lsa", "version": _VERSION, "texts": counts.shape[0]}, sort_keys=True)
    tensors = {"columns": columns.astype(np.int32), "projection": projection}
    path.write_bytes(save(tensors, metadata={"nextlong": about}))


class LsaEncoder:
    """Encodes with a model that :func:`fit` wrote. A text with no known term gets the zero vector."""

    max_workers: int | None = None
    takes_gpu = False
    quick = True

    def __init__(self, config: EncoderConfig, path: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        self.name = config.name
        try:
            content = path.read_bytes()
            tensors = load(content)
            columns, projection = tensors["columns"], tensors["projection"]
        except (OSError, SafetensorError, KeyError) as error:
            raise NextlongError(f"Cannot read the fitted `lsa` encoder {path}: {error}", "Fit it again.") from error
        self.dimensions = int(projection.shape[1])
        self._projection = np.zeros((_COLUMNS, self.dimensions), dtype=np.float32)
        self._projection[columns] = projection
        self.fingerprint = f"lsa-{_VERSION}-{xxhash.xxh3_64_hexdigest(content)}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to float32, shape ``(len(texts), dimensions)``, not normalised; see the protocol."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        # Sparse times dense adds a row's terms in column order, whatever the other rows are.
        return np.asarray(_counts(texts) @ self._projection, dtype=np.float32)


def _counts(texts: Iterable[str]) -> Any:
    """Hashed word counts, damped as 1 + ln(count): a scipy CSR matrix, float32, shape ``(texts, _COLUMNS)``."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=_COLUMNS, alternate_sign=False, norm=None, dtype=np.float32)
    counts = hashing.transform(texts)
    counts.data = 1 + np.log(counts.data)
    return counts
