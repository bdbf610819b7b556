"""Causal language models of transformers, loaded from a folder or by name, and their losses on chosen tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nextlong.config import Part
from nextlong.errors import NextlongError, UsageError
from nextlong.tokenization.tokenizer import load_tokenizer

Dtype = Literal["float32", "bfloat16"]


class ModelSettings(Part):
    """How a model is loaded.

    Attributes:
        dtype: of the model; bfloat16 halves memory, and is faster where the processor or GPU computes in it.
        device: where to compute; None is the first GPU where there is one.
        trust_remote_code: run the code that comes with the model.
    """

    dtype: Dtype = "float32"
    device: str | None = None
    trust_remote_code: bool = False


# A name on the Hugging Face hub: `name` or `owner/name`.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

# transformers renamed the argument `torch_dtype` to `dtype` in this version.
_DTYPE_RENAMED = (4, 56)

# Tokens whose scores are float32 at once: 128K of them, the vocabulary of Llama 3, take 128 MiB.
_SCORED = 256


class LanguageModel:
    """A causal language model with its tokenizer, ready to compute with.

    Attributes:
        name: as the user wrote it.
        folder: where it lies.
        tokenizer: its own.
        model: the module.
        head: its output layer.
        start: the ids that begin every row: BOS, where the tokenizer defines one.
    """

    def __init__(self, name: str, purpose: str, settings: ModelSettings | None = None) -> None:
        """Load a model and its tokenizer.

        Args:
            name: a folder, or a name on the Hugging Face hub.
            purpose: what needs it, as the beginning of a sentence.
            settings: how to load it.

        Raises:
            UsageError: there is no such model.
            NextlongError: torch or transformers is not installed, or weights or tokenizer are missing or do not fit.
        """
        _require_packages(purpose)
        self.name, self.folder = name, _folder_of(name)
        self.tokenizer = load_tokenizer(str(self.folder))
        self.model, self.head = _load_model(self.folder, name, settings or ModelSettings())
        rows = int(self.model.get_input_embeddings().weight.shape[0])
        if self.tokenizer.vocabulary_size > rows:
            raise NextlongError(
                f"The tokenizer of {name} has {self.tokenizer.vocabulary_size} tokens, its model knows {rows}.",
                "They do not belong together: give a folder with the model's own tokenizer.",
            )
        bos = self.tokenizer.bos_id
        self.start = [] if bos is None else [bos]

    def window(self, wanted: int | None, usual: int) -> int:
        """The most tokens of a row.

        Args:
            wanted: so many; None for what the model can read, at most ``usual``.
            usual: see ``wanted``.

        Raises:
            UsageError: the model cannot read so many.
        """
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if wanted is not None and longest is not None and wanted > longest:
            raise UsageError(
                f"The model {self.name} reads {longest} tokens, fewer than the window of {wanted}.", "Set less."
            )
        return wanted or min(longest or usual, usual)

    def token_losses(self, row: npt.NDArray[np.int32], places: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The negative log-likelihood of some tokens of a row, each given all before it, in nats.

        The scores of the vocabulary are made for these tokens only. Memory is what the model needs for one row without a
        cache, and in its dtype a score of each id for each of the tokens.

        Args:
            row: ids, int32.
            places: of the tokens in the row, at least 1, ascending.

        Returns:
            float64 of the shape of ``places``.

        Raises:
            NextlongError: the model gave something that is not a number, or the device has too little memory.
        """
        import torch

        device = self.model.device
        ids = torch.tensor(row[None], dtype=torch.long, device=device)
        before = torch.tensor(places[None] - 1, dtype=torch.long, device=device)  # where each is predicted
        expected = ids[0][before[0] + 1]
        try:
            with torch.inference_mode(), wanted_only(self.head, before):
                logits = self.model(input_ids=ids, use_cache=False).logits
                require_wanted(logits, before, self.name)
                losses = [
                    torch.nn.functional.cross_entropy(some.float(), wanted, reduction="none")
                    for some, wanted in zip(logits[0].split(_SCORED), expected.split(_SCORED), strict=True)
                ]
                found: npt.NDArray[np.float64] = torch.cat(losses).double().cpu().numpy()
        except torch.cuda.OutOfMemoryError as error:
            raise NextlongError(
                f"The device has too little memory for a row of {len(row):,} tokens.",
                "Take a smaller model, shorter sequences, or `dtype` bfloat16.",
            ) from error
        if not np.isfinite(found).all():
            raise NextlongError(f"The model {self.name} gave a loss that is not a number.", "Its weights may be damaged.")
        return found


@contextmanager
def wanted_only(head: Any, places: Any) -> Iterator[None]:
    """Within it, an output layer makes scores for some places of each row only.

    Not transformers' ``logits_to_keep``: that takes the same places of every row, not every model has it, and older versions
    know it by another name. What a model does to its scores afterwards (scaling, capping) still happens.

    Args:
        head: the layer.
        places: a tensor of integers, shape ``(rows, wanted)``.
    """
    import torch

    def take(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (torch.take_along_dim(inputs[0], places[:, :, None], dim=1), *inputs[1:])

    handle = head.register_forward_pre_hook(take)
    try:
        yield
    finally:
        handle.remove()


def require_wanted(logits: Any, places: Any, name: str) -> None:
    """Check that a model's scores are those that :func:`wanted_only` asked for.

    Raises:
        NextlongError: they are not.
    """
    if logits.shape[:2] != places.shape:
        raise NextlongError(
            f"The model {name} does not call its output layer in the usual way.",
            "Take another model: the scores of chosen tokens only are needed.",
        )


def _require_packages(purpose: str) -> None:
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise NextlongError(f"{purpose} needs torch and transformers.", "pip install 'nextlong[train]'") from error


def _folder_of(model: str) -> Path:
    """The folder of a model, downloaded when its name is none on this machine."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(model):
        raise UsageError(f"There is no model folder {model}.", "Give a folder, or a Hugging Face name like `owner/model`.")
    from huggingface_hub import snapshot_download

    # Weights come as safetensors nearly always; many repositories have them a second time in older formats, as pickles.
    content = ["*.safetensors", "*.json", "*.py"]
    other_copies = ["*/*", "consolidated*"]
    try:
        folder = Path(snapshot_download(model, allow_patterns=content, ignore_patterns=other_copies))
    except Exception as error:  # the hub's client raises errors of several libraries, none with a common base
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        raise NextlongError(
            f"There is no folder {model}, and the model cannot be downloaded from the Hugging Face hub: {first_line}",
            "Check the spelling and the network. Without a network give the path of a folder; for a gated model run "
            "`hf auth login` first.",
        ) from error
    return folder


def _load_model(folder: Path, name: str, settings: ModelSettings) -> tuple[Any, Any]:
    """The model, ready to compute with, and its output layer."""
    import torch
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    dtypes = {"dtype" if version >= _DTYPE_RENAMED else "torch_dtype": getattr(torch, settings.dtype)}
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder),
            output_loading_info=True,
            trust_remote_code=settings.trust_remote_code,
            use_safetensors=True,  # the other formats are pickles, which may run code
            **dtypes,
        )
        model = model.to(device).eval()
    except Exception as error:  # every model's own code runs here
        raise NextlongError(
            f"Cannot load the model {name}: {error}",
            "Give a folder that transformers' `save_pretrained` wrote, with config.json and weights as safetensors; check "
            "`device`, and whether the model needs `trust_remote_code`.",
        ) from error
    # transformers gives random values to weights that it does not find, and only warns.
    absent = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading.get(kind, ()))
    if absent:
        raise NextlongError(
            f"The model {name} lacks weights: {', '.join(absent[:3])}{' …' if len(absent) > 3 else ''}.",
            "Check that the download is complete and that it is a causal language model.",
        )
    head = model.get_output_embeddings()
    if head is None:
        raise NextlongError(f"The model {name} has no output layer.", "Give a causal language model.")
    return model, head
