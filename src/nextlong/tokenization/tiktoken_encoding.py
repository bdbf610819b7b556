"""Tokenizers of tiktoken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from nextlong.errors import NextlongError, UsageError
from nextlong.tokenization.cuts import cuts_of_pattern
from nextlong.tokenization.segments import SegmentEncoder
from nextlong.tokenization.tokenizer import TIKTOKEN_PREFIX, Tokens, is_reversible

if TYPE_CHECKING:
    from tiktoken import Encoding

# tiktoken has no notion of begin and end; these are the names that encodings give them.
_BOS_NAMES = ("<|begin_of_text|>", "<|startoftext|>", "<|bos|>")
_EOS_NAMES = ("<|endoftext|>", "<|end_of_text|>", "<|eos|>")


class TiktokenTokenizer:
    """A tiktoken encoding as a :class:`~nextlong.tokenization.tokenizer.Tokenizer`.

    Args:
        encoding: the encoding; its begin and end tokens are known by their usual names.
        name: shown to people; None is ``tiktoken:`` and the encoding's name.
    """

    def __init__(self, encoding: Encoding, name: str | None = None) -> None:
        self._encoding = encoding
        specials = encoding._special_tokens
        self.name = name or TIKTOKEN_PREFIX + encoding.name
        self.vocabulary_size = encoding.n_vocab
        self.bos_id: int | None = next((specials[one] for one in _BOS_NAMES if one in specials), None)
        self.eos_id: int | None = next((specials[one] for one in _EOS_NAMES if one in specials), None)
        self.merges = True
        self.added_tokens: dict[str, bool] = {}
        self.fingerprint = _fingerprint(encoding)
        cuts = cuts_of_pattern(encoding._pat_str)
        sizes = np.zeros(encoding.n_vocab, dtype=np.int64)
        sizes[list(encoding._mergeable_ranks.values())] = [len(token) for token in encoding._mergeable_ranks]
        self._segments = SegmentEncoder(self._encode_whole, cuts, sizes) if cuts else None
        self.reversible = is_reversible(self.encode_batch, self.decode)

    def __reduce__(self) -> tuple[type[TiktokenTokenizer], tuple[Encoding, str]]:
        # Without the segments that were encoded here.
        return type(self), (self._encoding, self.name)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Encode each text by itself; special tokens in a text are plain text."""
        if self._segments:
            return self._segments.encode_batch(texts)
        return [np.array(ids, dtype=np.int32) for ids in self._encode_whole(list(texts))]

    def encode_whole(self, text: str) -> Tokens:
        """As :meth:`encode_batch` for one text, by the library alone."""
        return np.array(self._encoding.encode_ordinary(text), dtype=np.int32)

    def encode_with_ends(self, text: str) -> tuple[Tokens, npt.NDArray[np.int64]]:
        """The tokens of a text, and for each the character offset after its last character."""
        ids = self._encoding.encode_ordinary(text)
        byte_ends = np.cumsum([len(token) for token in self._encoding.decode_tokens_bytes(ids)], dtype=np.int64)
        # A byte of the form 10xxxxxx continues a character; every other byte starts one.
        starts = (np.frombuffer(text.encode(), dtype=np.uint8) & 0xC0) != 0x80
        characters = np.cumsum(starts, dtype=np.int64)
        return np.array(ids, dtype=np.int32), characters[byte_ends - 1]

    def word_starts(self, text: str) -> npt.NDArray[np.bool_]:
        """For each token of a text whether a word of the encoding's pattern begins with it."""
        import regex  # type: ignore[import-untyped]  # comes with tiktoken, which writes its patterns for it

        ids = self._encoding.encode_ordinary(text)
        sizes = [len(token) for token in self._encoding.decode_tokens_bytes(ids)]
        begins = np.cumsum([0, *sizes])[:-1]
        words = np.cumsum([0, *(len(word.encode()) for word in regex.findall(self._encoding._pat_str, text))])
        return np.isin(begins, words)

    def encode_words(self, text: str) -> tuple[list[int], list[int], list[bool]]:
        """Tokens, ends and word starts of a text."""
        tokens, ends = self.encode_with_ends(text)
        return tokens.tolist(), ends.tolist(), self.word_starts(text).tolist()

    def cut_between(self, before: str, after: str) -> bool:
        """Whether texts can be cut here, whatever stands around."""
        return self._segments is not None and self._segments.cut_between(before, after)

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int]) -> str:
        """The text of tokens; bytes that are no character become U+FFFD."""
        return self._encoding.decode(np.asarray(ids).tolist())

    def _encode_whole(self, texts: list[str]) -> list[list[int]]:
        return self._encoding.encode_ordinary_batch(texts, num_threads=os.cpu_count() or 1)

    def token_texts(self) -> list[str]:
        """The text of every token that is whole characters."""
        texts = []
        for value in self._encoding.token_byte_values():
            try:
                texts.append(value.decode())
            except UnicodeDecodeError:
                continue  # a part of a character
        return texts


def load_tiktoken(encoding: str) -> TiktokenTokenizer:
    """Load an encoding by its name, from tiktoken or a plugin of it.

    Raises:
        UsageError: there is no such encoding.
        NextlongError: its vocabulary cannot be downloaded.
    """
    import tiktoken

    try:
        return TiktokenTokenizer(tiktoken.get_encoding(encoding))
    except ValueError as error:
        known = tiktoken.list_encoding_names()
        if encoding in known:
            raise NextlongError(f"Cannot load the tiktoken encoding {encoding}: {error}") from error
        raise UsageError(f"There is no tiktoken encoding {encoding}.", f"Known are: {', '.join(known)}.") from error
    except OSError as error:  # requests' errors are OSErrors
        raise NextlongError(
            f"Cannot download the vocabulary of the tiktoken encoding {encoding}: {error}",
            "Without a network, set TIKTOKEN_CACHE_DIR to a cache filled on another machine, or give a folder with a "
            "tokenizer.json.",
        ) from error


def _fingerprint(encoding: Encoding) -> str:
    digest = xxhash.xxh3_128()
    digest.update(encoding._pat_str.encode())
    for token, rank in sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1]):
        digest.update(rank.to_bytes(8, "little") + len(token).to_bytes(8, "little") + token)
    digest.update(repr(sorted(encoding._special_tokens.items())).encode())
    return digest.hexdigest()
