"""How much a candidate lowers a causal language model's loss on the meta-chunk, in nats per token.

The gain of a candidate c for a meta-chunk m is L(m) − L(m | c): the mean negative log-likelihood of m's tokens alone, minus
the same with the candidate and a separator before them. Only m's tokens count, and they are the same ids both times, since
m is tokenised by itself and put behind the tokens of "candidate + separator".

    alone:  [BOS] m₁ m₂ … mₙ            with:  [BOS] c₁ … separator m₁ m₂ … mₙ

m₁ is predicted from BOS in the first row. A tokenizer without BOS leaves nothing to predict it from, so that it does not
count in either row. What is too long for the model loses the candidate's beginning, so that its end stays beside m.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash
from pydantic import Field

from nextlong.errors import NextlongError
from nextlong.mining.language_model import LanguageModel, ModelSettings, require_wanted, wanted_only

# Goes into the fingerprint; raise it when a score changes.
_VERSION = 1

# Models may read 128K tokens and more, of which a chunk of 2,048 characters needs some 500: attention over everything
# that a model can read would only ask for memory. `window` raises it.
_DEFAULT_WINDOW = 8192

# What decides about a model: weights, configuration and tokenizer, a model's own code.
_CONTENT = (".safetensors", ".json", ".py")
_READ_BYTES = 1 << 22


class CausalLMSettings(ModelSettings):
    """What ``causal-lm`` takes besides the model.

    Attributes:
        window: the most tokens of a row, BOS included; None is what the model can read, at most 8,192. The meta-chunk
            gets at most half of it and loses its end; the rest is the candidate's.
        separator: what stands between the candidate and the meta-chunk.
        batch_size: rows at once. Memory is mostly the scores of the vocabulary: batch_size × meta-chunk's tokens ×
            vocabulary × 4 bytes (8 × 500 × 128K × 4 = 2 GB).
        dtype: of the model; bfloat16 halves memory, is faster on a GPU, and moves gains by some 0.01.
        device: where to compute; None is the first GPU where there is one.
        trust_remote_code: run the code that comes with the model.
    """

    window: int | None = Field(default=None, ge=8)
    separator: str = "\n\n"
    batch_size: int = Field(default=8, ge=1)


class CausalLMScorer:
    """A causal language model of Hugging Face transformers as a :class:`~nextlong.mining.scoring.Scorer`.

    Rows are padded on the right, where no causal model looks. What stands beside a candidate in a batch, the machine and
    the device move its score by float rounding only (some 1e-6 in float32).

    Attributes:
        fingerprint: see the protocol. The batch size is part of it, since its rounding may swap two candidates.
        window: the most tokens of a row.
    """

    def __init__(self, model: str, settings: CausalLMSettings | None = None) -> None:
        """Load a model and its tokenizer by folder or Hugging Face name.

        Raises:
            UsageError: there is no such model, or it cannot read as many tokens as ``window`` says.
            NextlongError: torch or transformers is not installed, or weights or tokenizer are missing or do not fit.
        """
        self._settings = settings or CausalLMSettings()
        loaded = LanguageModel(model, "The scorer `causal-lm`", self._settings)
        self._name, self._tokenizer, self._model, self._head = model, loaded.tokenizer, loaded.model, loaded.head
        self.window = loaded.window(self._settings.window, _DEFAULT_WINDOW)
        self._start = loaded.start
        described = self._settings.model_dump(exclude={"device"}) | {"window": self.window}
        digest = xxhash.xxh3_64_hexdigest(f"{_content_of(loaded.folder)} {sorted(described.items())}".encode())
        self.fingerprint = f"causal-lm-{_VERSION}-{digest}"

    def score(self, meta_chunk: str, candidates: Sequence[str]) -> npt.NDArray[np.float32]:
        """The gain of each candidate in nats per token of the meta-chunk, float32 of shape ``(len(candidates),)``.

        Gains are 0 where no token of the meta-chunk can be predicted: an empty one, or one token without a BOS.

        Raises:
            NextlongError: the model gave something that is not a number, or the device has too little memory.
        """
        encoded = self._tokenizer.encode_batch([meta_chunk, *(text + self._settings.separator for text in candidates)])
        meta = encoded[0].tolist()[: self.window // 2]
        uncounted = 0 if self._start else 1
        if not candidates or len(meta) <= uncounted:
            return np.zeros(len(candidates), dtype=np.float32)
        room = self.window - len(self._start) - len(meta)
        contexts = [[], *(ids.tolist()[max(0, len(ids) - room) :] for ids in encoded[1:])]
        losses = self._losses([[*self._start, *context, *meta] for context in contexts], meta[uncounted:])
        if not np.isfinite(losses).all():
            raise NextlongError(f"The model {self._name} gave a loss that is not a number.", "Its weights may be damaged.")
        gains: npt.NDArray[np.float32] = (losses[0] - losses[1:]).astype(np.float32)
        return gains

    def _losses(self, rows: list[list[int]], targets: list[int]) -> npt.NDArray[np.float64]:
        """The mean loss of each row on its last tokens, which are the targets."""
        # Rows of like length together save padding; the longest first, so that what does not fit fails at once.
        order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
        losses = np.empty(len(rows), dtype=np.float64)
        for first in range(0, len(rows), self._settings.batch_size):
            some = order[first : first + self._settings.batch_size]
            losses[some] = self._batch_losses([rows[row] for row in some], targets)
        return losses

    def _batch_losses(self, rows: list[list[int]], targets: list[int]) -> list[float]:
        import torch

        device = self._model.device
        longest = max(map(len, rows))
        # Any id will do as padding: it stands behind everything that counts, and the mask hides it.
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        # Where each target is predicted: one place before its own.
        starts = torch.tensor([len(row) - len(targets) - 1 for row in rows], device=device)
        places = starts[:, None] + torch.arange(len(targets), device=device)
        expected = torch.tensor(targets, device=device)

        try:
            with torch.inference_mode(), wanted_only(self._head, places):
                logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
                require_wanted(logits, places, self._name)
                # One row at a time: in float32 all of them would double the memory.
                losses = [torch.nn.functional.cross_entropy(row.float(), expected, reduction="none") for row in logits]
                return [float(loss.double().mean()) for loss in losses]
        except torch.cuda.OutOfMemoryError as error:
            raise NextlongError(
                f"The device has too little memory for {len(rows)} rows of {longest} tokens.",
                "Set a smaller `batch_size` or `window`, or `dtype` to bfloat16.",
            ) from error


def _content_of(folder: Path) -> str:
    """A hash of what decides about a model's scores; the same wherever the folder lies."""
    digest = xxhash.xxh3_64()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _CONTENT and path.is_file()):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()
