"""How much a language model gains on a chunk from what stands far before it in its sequence.

For the tokens x of a chunk, with everything before it in its sequence as the context c, L(x | c) is the mean negative
log-likelihood in nats a token. Two gains, both above 0 where far text helps:

    over local     L(x | the last N tokens of c) − L(x | c)
    over replaced  L(x | c with the far chunks of x's document replaced by other text) − L(x | c)

The first is the long-short difference that LongPPL and LongCE weigh tokens by (Fang et al. 2024, arXiv 2410.23771), averaged
over a chunk; the share of LongPPL's key tokens is given, too. The second leaves the context as long as it is and takes away
one thing only, so that what helps can be nothing but the document's own earlier text: the dependency strength of ProLong
(Chen et al. 2024, arXiv 2405.17915), (PPL(x) − PPL(x | c)) / PPL(x), in nats and within the sequence, with text of other
documents where that paper has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextlong.errors import UsageError
from nextlong.inspection.opened import Dataset
from nextlong.mining.language_model import LanguageModel
from nextlong.pool.pool import Ordinals
from nextlong.quality.estimates import Estimate, ratio
from nextlong.quality.targets import OtherText, Target, TokenRow, sequence_generator, targets, token_row
from nextlong.tokenization.tokenizer import Tokens

# Sequences to look at where nothing is said: some fifty chunks, and minutes for a small model without a GPU.
USUAL_SAMPLE = 32

# What a token must gain, and what its log-likelihood must be with the long context, to be a key token: LongPPL's.
_KEY_GAIN, _KEY_LIKELIHOOD = 2.0, -2.0

# A model that does not say how much it can read gets rows of this many tokens at most.
_USUAL_WINDOW = 1 << 17

# LongPPL's short context, and the least share of a sequence that must be left to be far.
_LONGPPL_LOCAL, _LOCAL_SHARE = 4096, 8


@dataclass(frozen=True)
class Gain:
    """What chunks gain.

    Attributes:
        chunks, tokens: how many were measured.
        loss: of them with the whole context, in nats a token.
        over_local, over_replaced: see the module, in nats a token.
        key_tokens: share of tokens that the long context gives a likelihood of e^-2 or more, and more than e^2 times that
            of the local one.
    """

    chunks: int
    tokens: int
    loss: float
    over_local: Estimate | None
    over_replaced: Estimate | None
    key_tokens: Estimate | None


@dataclass(frozen=True)
class GainAtDistance:
    """What chunks gain whose document's nearest far chunk is at a distance.

    Attributes:
        low, high: of the distance in tokens; ``high`` is not included, and is twice ``low``.
        gain: of these chunks.
    """

    low: int
    high: int
    gain: Gain


@dataclass(frozen=True)
class LongRangeGain:
    """The long-range gain of a dataset.

    Attributes:
        dataset: its name.
        method: that it was made by.
        model: as it was named.
        local: tokens of the local context.
        window: the most tokens of a sequence that were read.
        sequences: how many were looked at.
        without: how many of them have no chunk to measure.
        same_document: of chunks that have an earlier chunk of their document beyond the local context.
        by_distance: the same by the distance to the nearest of these.
        other_documents: in the sequences of whole documents that have no such chunk, of chunks with other documents beyond
            the local context; these are what is replaced.
    """

    dataset: str
    method: str
    model: str
    local: int
    window: int
    sequences: int
    without: int
    same_document: Gain | None
    by_distance: list[GainAtDistance]
    other_documents: Gain | None


@dataclass(frozen=True, eq=False)
class _Measured:
    """The token losses of a target with the whole context, with the local one, and with far chunks replaced (or None)."""

    sequence: int
    target: Target
    whole: npt.NDArray[np.float64]
    local: npt.NDArray[np.float64]
    replaced: npt.NDArray[np.float64] | None


def usual_local(lengths: Iterable[int]) -> int:
    """The local context for sequences of such lengths: LongPPL's 4,096 tokens, and an eighth of the shortest at most."""
    return max(1, min(_LONGPPL_LOCAL, min(lengths) // _LOCAL_SHARE))


def long_range_gain(
    dataset: Dataset,
    model: LanguageModel,
    sequences: int = USUAL_SAMPLE,
    local: int | None = None,
    seed: int = 0,
    advance: Callable[[int], None] = lambda sequences: None,
) -> LongRangeGain:
    """Measure the long-range gain on sequences drawn from a dataset.

    Tokens are the model's own, of each chunk by itself, so the same in every context; separators do not count. Measured are
    at most two chunks of a sequence, drawn by (seed, its id); see :func:`~nextlong.quality.targets.targets`. Gains are
    means over tokens, their intervals are bootstrapped over sequences.

    Args:
        dataset: the dataset.
        model: the model.
        sequences: how many to look at.
        local: tokens of the local context; None for :func:`usual_local`.
        seed: of what is drawn.
        advance: called with how many more sequences were looked at.

    Raises:
        UsageError: the model reads no more than the local context.
        NextlongError: a file is missing or damaged, or the model fails.
    """
    near = local or usual_local([dataset.config.length])
    window = model.window(None, _USUAL_WINDOW)
    if window <= near + len(model.start):
        raise UsageError(
            f"The model {model.name} reads {window:,} tokens, no more than the local context of {near:,}.",
            "Take a model that reads more, or a smaller --local.",
        )
    sample = dataset.sample(sequences, seed)
    separator = dataset.config.composition.separator
    other = OtherText(dataset.pool, model.tokenizer, separator)
    measured: list[_Measured] = []
    without = 0
    for number, identity in enumerate(sample.ids):
        generator = sequence_generator(seed, identity)
        spans = sample.spans.of(number)
        row = token_row(dataset.pool, spans, model.tokenizer, separator, window - len(model.start))
        chosen = targets(row, near, generator)
        without += not chosen
        measured += _measured(number, row, chosen, near, model, other, generator)
        advance(1)
    same = [one for one in measured if one.target.same]
    bins: dict[int, list[_Measured]] = {}
    for one in same:
        bins.setdefault(one.target.distance.bit_length() - 1, []).append(one)
    return LongRangeGain(
        dataset.name,
        dataset.method,
        model.name,
        near,
        window,
        len(sample),
        without,
        _gain(same, len(sample)),
        [
            GainAtDistance(1 << power, 2 << power, gain)
            for power, some in sorted(bins.items())
            if (gain := _gain(some, len(sample))) is not None
        ],
        _gain([one for one in measured if not one.target.same], len(sample)),
    )


def _measured(
    number: int,
    row: TokenRow,
    chosen: list[Target],
    local: int,
    model: LanguageModel,
    other: OtherText,
    generator: np.random.Generator,
) -> list[_Measured]:
    if not chosen:
        return []
    result = []
    places = [np.arange(row.starts[target.place], row.ends[target.place]) for target in chosen]
    # One reading of the sequence gives the losses of all its targets: none stands in another's context as anything else.
    read = row.ids[: row.ends[chosen[-1].place]]
    whole = np.split(_losses(model, read, np.concatenate(places)), np.cumsum([len(own) for own in places])[:-1])
    for target, own, losses in zip(chosen, places, whole, strict=True):
        start, end = int(row.starts[target.place]), int(row.ends[target.place])
        first = max(0, start - local)
        instead = other.instead(row, target, generator)
        result.append(
            _Measured(
                number,
                target,
                losses,
                _losses(model, row.ids[first:end], own - first),
                None if instead is None else _losses(model, instead, own),
            )
        )
    return result


def _losses(model: LanguageModel, ids: Tokens, places: Ordinals) -> npt.NDArray[np.float64]:
    row = np.concatenate([np.array(model.start, dtype=np.int32), ids])
    return model.token_losses(row, places + len(model.start))


def _gain(measured: list[_Measured], sequences: int) -> Gain | None:
    if not measured:
        return None
    sums = np.zeros((sequences, 5))  # tokens, and of them: gain over local, key; tokens with a replacement, gain over it
    for one in measured:
        gained = one.local - one.whole
        key = (gained > _KEY_GAIN) & (-one.whole > _KEY_LIKELIHOOD)
        sums[one.sequence, :3] += len(gained), gained.sum(), key.sum()
        if one.replaced is not None:
            sums[one.sequence, 3:] += len(gained), (one.replaced - one.whole).sum()
    sums = sums[sums[:, 0] > 0]
    tokens = int(sums[:, 0].sum())
    return Gain(
        len(measured),
        tokens,
        float(sum(one.whole.sum() for one in measured) / tokens),
        ratio(sums[:, 1], sums[:, 0]),
        ratio(sums[:, 4], sums[:, 3]),
        ratio(sums[:, 2], sums[:, 0]),
    )
