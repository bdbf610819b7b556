"""Tokenizers of the Hugging Face ``tokenizers`` library, from a folder or from the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import ne
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from tokenizers import Encoding
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE

from nextlong.errors import NextlongError, UsageError, is_panic
from nextlong.tokenization.cuts import cuts_of_tokenizer
from nextlong.tokenization.segments import SegmentEncoder
from nextlong.tokenization.tokenizer import Tokens, is_reversible

TOKENIZER_FILE = "tokenizer.json"

# Where begin and end tokens are named as strings, and, when no such file names either, as ids.
_NAMING_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_ID_FILES = ("generation_config.json", "config.json")

_SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")

_CONVERT = (
    "Convert it once with transformers: "
    "`AutoTokenizer.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)` writes a tokenizer.json."
)


class HuggingFaceTokenizer:
    """A ``tokenizer.json`` as a :class:`~nextlong.tokenization.tokenizer.Tokenizer`.

    Truncation and padding that the file asks for are switched off.

    Args:
        content: the text of the ``tokenizer.json``.
        name: shown to people.
        bos, eos: the begin and end tokens, as a string or an id, or None.

    Raises:
        ValueError: the content is not a tokenizer, or it does not have one of the tokens.
    """

    def __init__(self, content: str, name: str, bos: str | int | None = None, eos: str | int | None = None) -> None:
        self._arguments = (content, name, bos, eos)
        self._library = _read(content)
        self.name = name
        self.bos_id = _token_id(self._library, bos)
        self.eos_id = _token_id(self._library, eos)
        added = self._library.get_added_tokens_decoder()
        # Ids may have gaps (a padded or a trimmed vocabulary, added tokens far behind): counting entries is not enough.
        known = self._library.get_vocab(with_added_tokens=True)
        self.vocabulary_size = 1 + max([*known.values(), *added], default=-1)
        self.fingerprint = xxhash.xxh3_128_hexdigest(f"{self.bos_id} {self.eos_id} {content}".encode())
        special = {i: token.content for i, token in added.items() if token.special}
        for one in (self.bos_id, self.eos_id):
            if one is not None:
                special[one] = str(self._library.id_to_token(one))
        self.merges = isinstance(self._library.model, BPE)
        self.added_tokens = {token.content: token.lstrip or token.rstrip for i, token in added.items() if i not in special}
        named = {self.bos_id, self.eos_id}
        # What any unknown character becomes is no injection, unless it begins or ends a text.
        unknown = set(self._library.encode("\U0010fffe", add_special_tokens=False).ids) - named
        special = {i: string for i, string in special.items() if i not in unknown}
        self._encoder = _plain_text_encoder(self._library, content, special)
        data = json.loads(content)
        cuts = cuts_of_tokenizer(data, _found_in_text(self._encoder))
        # At byte level, the name of a token has a character for each of its bytes.
        sizes = np.zeros(self.vocabulary_size, dtype=np.int64)
        if cuts:
            sizes[list(data["model"]["vocab"].values())] = [len(token) for token in data["model"]["vocab"]]
        self._segments = SegmentEncoder(self._encode_whole, cuts, sizes) if cuts else None
        self.reversible = is_reversible(self.encode_batch, self.decode)

    def __reduce__(self) -> tuple[type[HuggingFaceTokenizer], tuple[Any, ...]]:
        # The library's own pickle forgets how special tokens are to be read.
        return (type(self), self._arguments)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Encode each text by itself; special tokens in a text are plain text."""
        if self._segments:
            return self._segments.encode_batch(texts)
        return [np.array(ids, dtype=np.int32) for ids in self._encode_whole(list(texts))]

    def encode_whole(self, text: str) -> Tokens:
        """As :meth:`encode_batch` for one text, by the library alone."""
        (ids,) = self._encode_whole([text])
        return np.array(ids, dtype=np.int32)

    def encode_with_ends(self, text: str) -> tuple[Tokens, npt.NDArray[np.int64]]:
        """The tokens of a text, and for each the character offset after its last character."""
        encoded = self._encoder.encode(text, add_special_tokens=False)
        return np.array(encoded.ids, dtype=np.int32), _ends(encoded)

    def word_starts(self, text: str) -> npt.NDArray[np.bool_]:
        """For each token of a text whether a word begins with it."""
        return np.array(_word_starts(self._encoder.encode(text, add_special_tokens=False)), dtype=np.bool_)

    def encode_words(self, text: str) -> tuple[list[int], list[int], list[bool]]:
        """Tokens, ends and word starts of a text, of one encoding."""
        encoded = self._encoder.encode(text, add_special_tokens=False)
        return encoded.ids, [end for _, end in encoded.offsets], _word_starts(encoded)

    def cut_between(self, before: str, after: str) -> bool:
        """Whether texts can be cut here, whatever stands around."""
        return self._segments is not None and self._segments.cut_between(before, after)

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int]) -> str:
        """The text of tokens; special tokens appear as they are written."""
        text: str = self._library.decode(np.asarray(ids).tolist(), skip_special_tokens=False)
        return text

    def _encode_whole(self, texts: list[str]) -> Iterator[list[int]]:
        return (one.ids for one in self._encoder.encode_batch_fast(texts, add_special_tokens=False))

    def token_texts(self) -> list[str]:
        """The text of every token that is whole characters, special tokens left out."""
        ids = self._library.get_vocab(with_added_tokens=False).values()
        texts = self._library.decode_batch([[i] for i in ids])
        return [*self.added_tokens, *(text for text in texts if "\ufffd" not in text)]


def _ends(encoded: Encoding) -> npt.NDArray[np.int64]:
    return np.array(encoded.offsets, dtype=np.int64).reshape(-1, 2)[:, 1]


def _word_starts(encoded: Encoding) -> list[bool]:
    words = encoded.word_ids
    return [True, *map(ne, words[1:], words)][: len(words)]


def load_from_folder(folder: Path, name: str, file: str = TOKENIZER_FILE) -> HuggingFaceTokenizer:
    """Load ``folder/file``, with the begin and end tokens that the JSON files beside it name.

    Raises:
        UsageError: no ``tokenizer.json`` in the folder.
        NextlongError: a file cannot be read.
    """
    path = folder / file
    if not path.is_file():
        if any((folder / other).is_file() for other in _SENTENCEPIECE_FILES):
            raise UsageError(f"The tokenizer folder {name} has a SentencePiece model but no {TOKENIZER_FILE}.", _CONVERT)
        raise UsageError(
            f"The folder {name} has no {TOKENIZER_FILE}.", "Give the folder of a tokenizer or of a model that has one."
        )
    bos, eos = _begin_and_end(folder)
    try:
        return HuggingFaceTokenizer(path.read_text(encoding="utf-8"), name, bos, eos)
    except NextlongError:
        raise
    except BaseException as error:  # the library raises bare Exception, and panics
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise NextlongError(
            f"Cannot load the tokenizer {path}: {error}",
            "Check that the download is complete; a file of a newer format may need `pip install -U tokenizers`.",
        ) from error


def load_from_hub(name: str) -> HuggingFaceTokenizer:
    """Download a tokenizer from the Hugging Face hub, or take it from the local cache.

    Raises:
        UsageError: the repository has no ``tokenizer.json``.
        NextlongError: the hub cannot be reached, or has no such repository, or does not let this user in.
    """
    from huggingface_hub import snapshot_download

    wanted = [TOKENIZER_FILE, *_NAMING_FILES, *_ID_FILES, *_SENTENCEPIECE_FILES]
    try:
        folder = snapshot_download(name, allow_patterns=wanted)
    except Exception as error:  # the hub's client raises errors of several libraries, none with a common base
        first_line = str(error).strip().split("\n")[0] or type(error).__name__
        raise NextlongError(
            f"There is no folder {name}, and the tokenizer cannot be downloaded from the Hugging Face hub: {first_line}",
            "Check the spelling and the network. Without a network give the path of a folder with a tokenizer.json; "
            "for a gated model run `hf auth login` first.",
        ) from error
    return load_from_folder(Path(folder), name)


def _read(content: str) -> Library:
    try:
        library = Library.from_str(content)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"this is not a tokenizer that the installed `tokenizers` can read ({error})") from error
    library.no_truncation()
    library.no_padding()
    return library


def _token_id(library: Library, token: str | int | None) -> int | None:
    if token is None:
        return None
    if isinstance(token, int):
        if library.id_to_token(token) is None:
            raise ValueError(f"its configuration names the token id {token}, which is not in its vocabulary")
        return token
    found: int | None = library.token_to_id(token)
    if found is None:
        raise ValueError(f"its configuration names the token {token!r}, which is not in its vocabulary")
    return found


def _plain_text_encoder(library: Library, content: str, special: dict[int, str]) -> Library:
    """An encoder that reads the strings of special tokens as plain text, whatever the file says."""
    library.encode_special_tokens = True
    reached = _reached(library, special)
    if not reached:
        return library
    # Two ways lead to a special token all the same. The file may have forgotten to mark it as special:
    data = json.loads(content)
    for one in data["added_tokens"]:
        one["special"] = one["special"] or one["id"] in reached
    encoder = _encoder_of(data)
    reached = _reached(encoder, special)
    if reached:
        # Or its string is also a piece of the model's vocabulary that the model can put out (Unigram; a lookup of whole
        # words). Such a piece gets a name that no text reaches: models never see a raw space inside a word.
        data["added_tokens"] = [one for one in data["added_tokens"] if one["id"] not in reached]
        pieces = data["model"].get("vocab")
        if isinstance(pieces, list):
            data["model"]["vocab"] = [
                [_unreachable(piece[0]), *piece[1:]] if i in reached else piece for i, piece in enumerate(pieces)
            ]
        elif isinstance(pieces, dict):
            data["model"]["vocab"] = {_unreachable(piece) if i in reached else piece: i for piece, i in pieces.items()}
        encoder = _encoder_of(data)
        reached = _reached(encoder, special)
    before = {i: token.content for i, token in library.get_added_tokens_decoder().items()}
    after = {i: token.content for i, token in encoder.get_added_tokens_decoder().items()}
    if reached or not after.items() <= before.items():
        names = ", ".join(repr(special[i]) for i in sorted(reached or special))
        raise ValueError(f"text can contain its special tokens {names}, and that cannot be switched off")
    return encoder


def _found_in_text(encoder: Library) -> list[tuple[str, bool]]:
    """The added tokens that are found in texts, and whether each is looked for in the normalised text."""
    return [(token.content, token.normalized) for token in encoder.get_added_tokens_decoder().values() if not token.special]


def _encoder_of(data: dict[str, Any]) -> Library:
    encoder = _read(json.dumps(data))
    encoder.encode_special_tokens = True
    return encoder


def _unreachable(piece: str) -> str:
    return f"\U0010ffff {piece}"


def _reached(library: Library, special: dict[int, str]) -> set[int]:
    """The special tokens that an encoding of their own string contains."""
    reached: set[int] = set()
    for i, string in special.items():
        for text in (string, f"a {string} b", f"a{string}b", f"\n{string}\n"):
            if i in library.encode(text, add_special_tokens=False).ids:
                reached.add(i)
    return reached


def _begin_and_end(folder: Path) -> tuple[str | int | None, str | int | None]:
    """The begin and end tokens that the files of a folder name.

    A file that names one of the two decides about both: a model with an end and no begin token is common, and its
    ``config.json`` may still have a meaningless ``bos_token_id``.
    """
    for file in _NAMING_FILES:
        config = _json_object(folder / file)
        if "bos_token" in config or "eos_token" in config:
            return _string(config.get("bos_token")), _string(config.get("eos_token"))
    for file in _ID_FILES:
        config = _json_object(folder / file)
        if "bos_token_id" in config or "eos_token_id" in config:
            return _first_id(config.get("bos_token_id")), _first_id(config.get("eos_token_id"))
    return None, None


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NextlongError(f"Cannot read {path}: {error}", "Check that the download is complete.") from error
    return content if isinstance(content, dict) else {}


def _string(token: object) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _first_id(value: object) -> int | None:
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
