"""Any sentence-transformers model, on a GPU when there is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Vectors
from nextlong.embedding.windows import mean_by_text, token_windows, windows
from nextlong.errors import NextlongError
from nextlong.execution.files import read_json

# Models that state no longest input (static ones) read everything; 8,192 tokens at once bounds the memory of others.
_MAX_TOKENS = 8192

# A window tokenised by itself can have a token more at each end than as part of its text.
_MARGIN_TOKENS = 2

# Goes into the fingerprint; raise it when a vector changes.
_VERSION = 1


class SentenceTransformerEncoder:
    """Encodes windows that fit the model's input and gives their mean, so that the whole chunk is read.

    Texts are batched as torch wants them: a text's vector depends on the batch's padding by float rounding (some 1e-7
    in full precision), and the same call gives the same vectors again on the same machine.
    """

    def __init__(self, config: EncoderConfig, model: str) -> None:
        """Load a model by folder or Hugging Face name.

        Raises:
            NextlongError: sentence-transformers is not installed, or the model cannot be loaded.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise NextlongError(
                f"The encoder `{config.name}` needs sentence-transformers.", 'pip install "nextlong[sentence-transformers]"'
            ) from error
        _check_folder(Path(model).expanduser(), config.trust_remote_code)
        try:
            self._model: Any = SentenceTransformer(
                model,
                device=config.device,
                truncate_dim=config.dimensions,
                trust_remote_code=config.trust_remote_code,
                model_kwargs={"use_safetensors": True},  # the other formats are pickles, which may run code
            )
        except Exception as error:  # every model's own code runs here
            advice = "Check the name, the network, whether it has safetensors, and whether it needs `trust_remote_code`."
            raise NextlongError(f"Cannot load the sentence-transformers model {model}: {error}", advice) from error
        self.name = config.name
        self._config = config
        limit = min(int(getattr(self._model, "max_seq_length", None) or _MAX_TOKENS), _MAX_TOKENS)
        self._budget = limit - self._count("", special=True) - self._count(config.prompt) - _MARGIN_TOKENS
        if self._budget < 1:
            raise NextlongError(f"The prompt fills the whole input of {model} ({limit} tokens).", "Shorten it.")
        # A model on a device has it to itself; on the processor every worker may load its own.
        self.max_workers: int | None = None if self._model.device.type == "cpu" else 1
        self.takes_gpu = config.device is None or config.device.startswith("cuda")
        self.quick = False
        self.dimensions = int(self._encode([config.prompt + "dimensions"]).shape[1])
        settings = [_version_of(model), config.window, config.prompt, config.dimensions, self._budget]
        self.fingerprint = f"sentence-transformers-{_VERSION}-{xxhash.xxh3_64_hexdigest(repr(settings).encode())}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to float32, shape ``(len(texts), dimensions)``; see the protocol."""
        if not texts:
            return np.zeros((0, self.dimensions), dtype=np.float32)
        parts = [self._windows(text) for text in texts]
        flat = [self._config.prompt + part for windows_of_text in parts for part in windows_of_text]
        return mean_by_text(self._encode(flat), [len(windows_of_text) for windows_of_text in parts])

    def _encode(self, texts: list[str]) -> Vectors:
        # The prompt is part of the texts already; a default prompt of the model must not come on top.
        vectors = self._model.encode(
            texts, batch_size=self._config.batch_size, prompt="", show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, dtype=np.float32)

    def _windows(self, text: str) -> list[str]:
        by_size = windows(text, self._config.window) if self._config.window else [text]
        return [part for window in by_size for part in token_windows(window, self._budget, self._count)]

    def _count(self, text: str, *, special: bool = False) -> int:
        return len(self._model.tokenizer.encode(text, add_special_tokens=special))


def _check_folder(folder: Path, trusted: bool) -> None:
    """Refuse a model's folder that would run code or load a pickle; the library itself is less strict with folders.

    Raises:
        NextlongError: it has modules that are none of the library's and code is not trusted, or weights as pickles only.
    """
    if not folder.is_dir():
        return
    for description in () if trusted else (*folder.rglob("modules.json"), *folder.rglob("router_config.json")):
        content = read_json(description)
        try:
            named = content.get("types", {}).values() if isinstance(content, dict) else [each["type"] for each in content]
        except (AttributeError, KeyError, TypeError) as error:
            raise NextlongError(
                f"{description} is damaged: it does not say what the model consists of.",
                "Check that the download is complete.",
            ) from error
        for name in named:
            if not str(name).startswith("sentence_transformers."):
                raise NextlongError(
                    f"The model {folder} runs code of its own: {description.name} names {name}.",
                    "Read that code, then give --trust-remote-code.",
                )
    for weights in folder.rglob("pytorch_model*.bin"):
        if not any(weights.parent.glob("*.safetensors")):
            raise NextlongError(
                f"The model {folder} has weights only as a pickle, which may run code: {weights.name}.",
                "Convert it to safetensors where you trust it: model.save(NEW_FOLDER) of sentence-transformers does.",
            )


def _version_of(model: str) -> str:
    """What identifies a model's weights: a hash of a folder's files, or the commit of what was downloaded.

    Not the weights in memory: those that a checkpoint lacks, such as an unused pooler's, are random in every process.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        digest = xxhash.xxh3_64()
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".md"]
        for path in files:
            name = path.relative_to(folder)
            if not any(part.startswith(".") for part in name.parts):
                digest.update(name.as_posix().encode())
                with path.open("rb") as file:
                    while block := file.read(1 << 22):
                        digest.update(block)
        return digest.hexdigest()
    from huggingface_hub import snapshot_download

    # A name without an owner means one of the library's own models.
    repository = model if "/" in model else f"sentence-transformers/{model}"
    return Path(snapshot_download(repository, local_files_only=True)).name
