"""Scoring candidates with a language model: which of them help it, or hurt it, to predict the meta-chunk.

Retrieval finds what is similar. Later methods (EntropyLong, arXiv 2510.02330; PolicyLong, arXiv 2604.07809) ask a model as
well, and keep a candidate for what it does to the prediction of the meta-chunk. What they share is here: a scorer gives a
number to each candidate, and :func:`rerank` puts the candidates into that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from nextlong.config import validated
from nextlong.errors import NextlongError, UsageError

Keep = Literal["all", "helps", "hurts"]

_EXAMPLES = {"causal-lm": "causal-lm:FOLDER"}


@runtime_checkable
class Scorer(Protocol):
    """Says how much each candidate helps a model to predict a meta-chunk.

    Attributes:
        fingerprint: of the model's content, the settings and the version of our own code: changes whenever a score may
            change; part of the dataset's configuration hash.
    """

    fingerprint: str

    def score(self, meta_chunk: str, candidates: Sequence[str]) -> npt.NDArray[np.float32]:
        """One finite number per candidate, float32 of shape ``(len(candidates),)``: higher helps more, below 0 hurts.

        The same call gives the same numbers again on the same machine. A candidate's number does not depend on the other
        candidates of the call, but for float rounding.
        """
        ...


def known_scorers() -> list[str]:
    """The names to choose from, as an error lists them."""
    return list(_EXAMPLES.values())


def load_scorer(name: str, **settings: Any) -> Scorer:
    """The scorer of a name, ready to use.

    Args:
        name: ``causal-lm:FOLDER``, where FOLDER has a Hugging Face model and its tokenizer, or names one on the hub.
        settings: of the scorer; those of ``causal-lm`` are in :class:`nextlong.mining.causal_lm.CausalLMSettings`.

    Raises:
        UsageError: no such scorer, or a setting that it does not take.
        NextlongError: its package, weights or tokenizer is missing; says what to do.
    """
    kind, _, argument = name.partition(":")
    if kind not in _EXAMPLES:
        close = difflib.get_close_matches(kind, _EXAMPLES, n=1)
        guess = f"Did you mean `{close[0]}`? " if close else ""
        raise UsageError(f"Unknown scorer `{name}`.", f"{guess}Known scorers: {', '.join(known_scorers())}.")
    if not argument:
        raise UsageError(f"The scorer `{name}` names no model.", f"Write it like `{_EXAMPLES[kind]}`.")
    from nextlong.mining.causal_lm import CausalLMScorer, CausalLMSettings

    return CausalLMScorer(argument, validated(CausalLMSettings, settings, where=f"the settings of the scorer `{kind}`"))


def rerank(scores: npt.NDArray[np.float32], gains: npt.NDArray[np.float32], keep: Keep = "all") -> npt.NDArray[np.int64]:
    """The order of candidates by what a scorer says, the most useful for ``keep`` first.

    Ties keep the retrieval order, which is the order of the arrays: the similarities do not decide, since the least
    similar come first where mining looks for those.

    Args:
        scores: float32, shape ``(n,)``: the candidates' similarities, in retrieval order.
        gains: float32, shape ``(n,)``: what :meth:`Scorer.score` gave for the same candidates.
        keep: ``all`` keeps every candidate and ``helps`` those with a gain above 0, both by descending gain; ``hurts``
            those with a gain below 0, by ascending gain.

    Returns:
        int64 of shape ``(kept,)``: places in ``scores`` and ``gains``, each at most once.

    Raises:
        UsageError: no such ``keep``.
        NextlongError: there is not one finite gain for each candidate.
    """
    if keep not in get_args(Keep):
        raise UsageError(f"Unknown choice `{keep}` of candidates to keep.", f"It is one of {', '.join(get_args(Keep))}.")
    if gains.shape != scores.shape or gains.ndim != 1:
        raise NextlongError(
            f"A scorer gave numbers of shape {gains.shape} for candidates of shape {scores.shape}.",
            "A scorer must give one number per candidate.",
        )
    if not np.isfinite(gains).all():
        place = int(np.flatnonzero(~np.isfinite(gains))[0])
        raise NextlongError(
            f"A scorer gave {gains[place]} for the candidate at place {place}.", "A scorer must give finite numbers."
        )
    order = np.argsort(gains if keep == "hurts" else -gains, kind="stable").astype(np.int64)
    ordered = gains[order]
    if keep == "all":
        return order
    return order[ordered > 0] if keep == "helps" else order[ordered < 0]
