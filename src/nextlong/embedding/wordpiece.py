"""Texts to token ids for a table look-up: one flat array, much faster than one list a text where that is exact.

`nanotoken` gives the ids that `tokenizers` gives, for WordPiece only, and remembers words that it has seen. It is young, so
it is optional, pinned by hash (requirements/nanotoken.txt), and used only where it agrees with `tokenizers` on a panel of
texts; the tests compare them on every code point.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

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
    return fast if fast is not None and _same(fast(_PANEL), slow(_PANEL)) else slow


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
