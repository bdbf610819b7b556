"""What an encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Turns chunks into vectors. It must read the whole chunk, however long.

    Attributes:
        name: as the user wrote it, for example ``static`` or ``sentence-transformers:BAAI/bge-m3``.
        dimensions: the width d of the vectors.
        fingerprint: changes whenever the same text could get another vector (weights, prompts, windows, versions of
            our own code), and never otherwise; part of the pool's configuration hash.
        max_workers: how many worker processes may hold a copy; None for no limit, 1 for one that owns a device.
        quick: whether it does a shard in seconds, so that workers may encode shards while others still read the corpus.
        takes_gpu: whether it computes on a GPU where its process finds one. On a cluster there is a copy for each GPU.
    """

    name: str
    dimensions: int
    fingerprint: str
    max_workers: int | None
    takes_gpu: bool
    quick: bool

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to a float32 array of shape ``(len(texts), dimensions)``, not necessarily normalised.

        The vector of a text never depends on the other texts of the call.
        """
        ...
