"""The long-range gain of datasets in folders, by a model in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nextlong.execution.progress import Progress, Quiet
from nextlong.inspection.opened import Dataset, told_apart
from nextlong.mining.language_model import Dtype, LanguageModel, ModelSettings
from nextlong.quality.long_range_gain import USUAL_SAMPLE, LongRangeGain, long_range_gain, usual_local


def gain(
    datasets: str | Path | Sequence[str | Path],
    model: str,
    *,
    sample: int = USUAL_SAMPLE,
    local: int | None = None,
    dtype: Dtype = "float32",
    device: str | None = None,
    pool: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[LongRangeGain]:
    """How much a language model gains from what stands far back in the sequences of datasets, each measured alike.

    Args:
        datasets: a dataset's folder, or several.
        model: a folder with a causal language model and its tokenizer, or its name on the Hugging Face hub.
        sample: sequences of each dataset to look at.
        local: tokens right before a chunk that are not far; None for 4,096, or an eighth of the shortest sequences.
        dtype: of the model; bfloat16 is faster where the processor or GPU computes in it, and moves gains by some 0.01.
        device: where to compute; None for the first GPU where there is one.
        pool: where the pool of the datasets is now, if it was moved.
        seed: which sequences and chunks are drawn.
        progress: where to show it; None shows nothing.

    Raises:
        UsageError: there is no such model, or it reads too few tokens; one of the datasets is an export or a mix.
        NextlongError: torch or transformers is not installed; a file is missing or damaged; the model fails.

    >>> gain(["data", "data-standard"], "SmolLM2-135M")[0].same_document.over_replaced.value  # doctest: +SKIP
    0.21
    """
    opened = [Dataset(each, pool) for each in ([datasets] if isinstance(datasets, str | Path) else datasets)]
    near = local or usual_local(dataset.config.length for dataset in opened)
    loaded = LanguageModel(model, "The long-range gain", ModelSettings(dtype=dtype, device=device))
    results = []
    for dataset in opened:
        looked_at = min(sample, int(dataset.card["counts"]["sequences"]))
        with (progress or Quiet()).stage("gain", looked_at, "sequences") as advance:
            results.append(long_range_gain(dataset, loaded, sample, near, seed, advance))
    names = told_apart([each.dataset for each in results])
    return [replace(each, dataset=name) for each, name in zip(results, names, strict=True)]
