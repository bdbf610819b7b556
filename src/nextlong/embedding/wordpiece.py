"""Texts to token ids for a table look-up, as one flat array: by the fastest of three ways that give the same ids.

- `nanotoken` remembers words that it has seen. It is young, so it is optional, pinned by hash (requirements/nanotoken.txt),
  and used only where it agrees with `tokenizers` on a panel of texts.
- For a WordPiece like BERT's, `tokenizers` sees every different part of a text once (``tokenization/segments.py``).
- `tokenizers` itself, for everything else.

The tests compare the ways on every code point.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.tokenization.cuts import APOSTROPHE, DIGIT, LETTER, LINE, MARK, SLASH, SPACE, Cuts
from nextlong.tokenization.segments import SegmentEncoder

Ids = npt.NDArray[np.int32]
# Where the ids of each text begin, and at the end how many there are.
Starts = npt.NDArray[np.int64]
FlatTokenizer = Callable[[Sequence[str]], tuple[Ids, Starts]]

# Words that each thread remembers: 20 MB. Sixteen times as many are no faster on a corpus of 240 M characters.
_REMEMBERED_WORDS = 1 << 16

# What tokenizers are known to differ in: white space and controls, accents and case, scripts, long words, special tokens.
_PANEL = (
    "The quick-brown fox's 1,234.5 unaffable jumps; CreateFileW(NULL, 0x1F) -> snake_case!",
    "tab\tnew\nline\x0bvertical\x0cfeed\r\x1c\x1f\x85\xa0\u2003\u3000\u200b\ufeff\x00\ufffd\x7f\xad\u2028end",
    "É é e\u0301 ß ẞ İ ı ſ ŒUVRE Ångström \u0345\u0327 ﬁ Ａ１ ΑΣ Ωά ς Привет",  # noqa: RUF001
    "中文 mixed漢字かな한국어 ｶﾞ 日本。「本」 हिन्दी ไทย עברית العربية",
    "😀👨\u200d👩\u200d👧🏽 ‘quotes’ “too” — … • ™ ½ x² $€£ ^`~|<=>+",  # noqa: RUF001
    "[CLS] a[SEP]b [MASK][PAD] [UNK] [sep] [ SEP ]",
    "x" * 100 + " " + "y" * 101 + " " + "é" * 120,
    "",
    "   ",
)


def flat_tokenizer(tokenizer: Any) -> FlatTokenizer:
    """What gives the ids of texts, without special tokens, as one flat array.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` that neither truncates nor pads; it decides what is right.
    """

    def slow(texts: Sequence[str]) -> tuple[Ids, Starts]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        starts = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in ids], out=starts[1:])
        return np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(starts[-1])), starts

    fast = _nanotokenizer(tokenizer)
    if fast is not None and _same(fast(_PANEL), slow(_PANEL)):
        return fast
    return _in_parts(tokenizer) or slow


def _same(one: tuple[Ids, Starts], other: tuple[Ids, Starts]) -> bool:
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def _nanotokenizer(tokenizer: Any) -> FlatTokenizer | None:
    try:
        import nanotoken
    except ImportError:  # not installed
        return None
    nanotoken.set_cache_entries(_REMEMBERED_WORDS)
    try:
        words = nanotoken.Tokenizer.from_json(tokenizer.to_str())
    except (nanotoken.UnsupportedTokenizerError, ValueError):  # no WordPiece, or not like BERT's
        return None
    # A worker process has one thread where there are as many workers as cores.
    parallel = os.environ.get("RAYON_NUM_THREADS") != "1"

    def fast(texts: Sequence[str]) -> tuple[Ids, Starts]:
        flat = words.encode_batch(list(texts), add_special_tokens=False, parallel=parallel)
        return flat.ids.view(np.int32), flat.offsets

    return fast


class _WordPieceCuts(Cuts):
    """Where a text can be cut so that its parts have the ids of the whole, for a normaliser and words like BERT's.

    BERT cleans, folds and strips characters one by one; its words end at white space and punctuation, and every mark of
    punctuation is a word. So a cut is right between ASCII characters of which one is white space or punctuation. Here are
    enough of these that parts repeat: none within runs of marks or of white space, which goes to the part after it, and
    none beside characters that are not ASCII, or controls, which disappear.
    """

    def table(self) -> npt.NDArray[np.bool_]:
        """As :meth:`nextlong.tokenization.cuts.Cuts.table`."""
        letters, marks, spaces = (LETTER, DIGIT), (MARK, APOSTROPHE, SLASH), (SPACE, LINE)
        table = np.zeros((16, 16, 16), dtype=np.bool_)
        for before, after in ((letters, marks), (marks, letters), (letters + marks, spaces)):
            table[np.ix_(before, after)] = True
        return table.reshape(-1)


def _in_parts(tokenizer: Any) -> FlatTokenizer | None:
    data = json.loads(tokenizer.to_str())
    kinds = tuple((data[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model"))
    if kinds != ("BertNormalizer", "BertPreTokenizer", "WordPiece"):
        return None
    added = data["added_tokens"]
    if any(token[way] for token in added for way in ("normalized", "single_word", "lstrip", "rstrip")):
        return None
    if any(_PLAIN.fullmatch(token["content"]) for token in added):  # it could be within a part
        return None
    plain = _plain_part(data["model"], data["normalizer"]["lowercase"])

    def encode(texts: list[str]) -> list[list[int]]:
        found = [plain(text) for text in texts]
        missing = [place for place, ids in enumerate(found) if ids is None]
        others = tokenizer.encode_batch_fast([texts[place] for place in missing], add_special_tokens=False)
        for place, encoding in zip(missing, others, strict=True):
            found[place] = encoding.ids
        return [ids for ids in found if ids is not None]

    cuts = _WordPieceCuts(lines=True, indents=False, whole=tuple(token["content"] for token in added))
    parts = SegmentEncoder(encode, cuts, token_sizes=None)  # white space has no tokens

    def in_parts(texts: Sequence[str]) -> tuple[Ids, Starts]:
        ids = parts.encode_batch(texts)
        starts = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in ids], out=starts[1:])
        return np.concatenate([*ids, np.empty(0, dtype=np.int32)]), starts

    return in_parts


# A part without anything that BERT would change but case: white space, then letters and digits, or marks.
_PLAIN = re.compile(r"[ \t\r\n]*(?:([0-9A-Za-z]+)|([!-/:-@\[-`{-~]+))?")


def _plain_part(model: dict[str, Any], lowercase: bool) -> Callable[[str], list[int] | None]:
    """What gives the ids of a plain part, and None for every other text; `tokenizers` takes five times as long."""
    vocabulary: dict[str, int] = model["vocab"]
    prefix, longest = model["continuing_subword_prefix"], model["max_input_chars_per_word"]
    unknown = vocabulary.get(model["unk_token"])

    def ids_of(text: str) -> list[int] | None:
        match = _PLAIN.fullmatch(text)
        if match is None or unknown is None:
            return None
        if marks := match[2]:
            return [vocabulary.get(mark, unknown) for mark in marks]
        word = (match[1] or "").lower() if lowercase else match[1] or ""
        if len(word) > longest:
            return [unknown]
        ids = []
        start = 0
        while start < len(word):
            # Greedy: the longest piece of the vocabulary; a word with a piece that is not there is unknown as a whole.
            for end in range(len(word), start, -1):
                piece = vocabulary.get(prefix + word[start:end] if start else word[start:end])
                if piece is not None:
                    break
            else:
                return [unknown]
            ids.append(piece)
            start = end
        return ids

    return ids_of
