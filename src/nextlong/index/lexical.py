"""Retrieval by words: BM25 over the texts of a pool's chunks.

>>> build_lexical(texts, folder)                                            # doctest: +SKIP
>>> scores, ordinals = load_lexical(folder, pool.chunks).search(texts_of_meta_chunks, k=200)      # doctest: +SKIP
"""

from __future__ import annotations

import json
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.arrays import load_array
from nextlong.execution.files import atomic, explained, mapping, read_json, write_json
from nextlong.index.vectors import Float32s, Float64s, Ordinals

# Raised when the same texts would give other files or another ranking.
VERSION = 1

# BM25 as Lucene computes it (Kamphuis et al., ECIR 2020), with the parameters that bm25s and rank_bm25 have by default.
METHOD = "lucene"
K1 = 1.5
B = 0.75

# What `build_lexical` writes; the names are those of bm25s, whose `BM25.load` opens the folder, too.
_ARRAYS = ("data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy")
_VOCABULARY = "vocab.index.json"
_PARAMETERS = "params.index.json"
FILES = (*_ARRAYS, _VOCABULARY, _PARAMETERS)

# What a term adds to a score is rounded to a multiple of 2^-32. It is below its idf, below 2^5 for any pool, so sums of up
# to 2^16 of them, more words than a chunk has, are exact in float64, in any order and on any processor.
_GRID = 2.0**32
# Postings added up at a time, by 12 bytes: ~50 MiB. A single frequent term may have more: one for each chunk.
_POSTINGS = 1 << 22

# Most texts in English: a pattern without combining marks is four times as fast.
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
# Thai and Lao, Burmese, Khmer, Japanese, Chinese: scripts without spaces between words.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u3005-\u3007\u3031-\u3035\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)


@dataclass(frozen=True, slots=True)
class LexicalReport:
    """What building an index found out; plain numbers, equal for equal texts.

    Attributes:
        chunks: how many there are.
        terms: different terms.
        postings: pairs of a chunk and a term in it.
        length: the mean number of terms of a chunk, repeated ones counted.
    """

    chunks: int
    terms: int
    postings: int
    length: float


def terms(text: str) -> list[str]:
    """The terms of a text: its words in lower case, in order, repeated as often as they occur.

    A word is a run of letters, digits and underscores with their combining marks, after NFKC. There is no stemmer and no
    list of stop words, since corpora are in many languages (and in code), and the idf makes frequent words nearly
    worthless anyway. In scripts without spaces between words (see `_UNSPACED`) the terms are the overlapping pairs of
    neighbouring characters, as Lucene does for Chinese and Japanese: single characters are in too many chunks to tell
    them apart, and a dictionary would be needed for words. A character without a neighbour is a term by itself.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    word, unspaced, piece, character = _patterns()
    text = unicodedata.normalize("NFKC", text).lower()
    words: list[str] = word.findall(text)
    if not unspaced.search(text):
        return words
    found: list[str] = []
    for run in words:
        if not unspaced.search(run):
            found.append(run)
            continue
        for part in piece.findall(run):
            if unspaced.match(part):
                characters = character.findall(part)
                found += [one + other for one, other in pairwise(characters)] or characters
            else:
                found.append(part)
    return found


def build_lexical(texts: Iterable[str], folder: Path) -> LexicalReport:
    """Write the BM25 index of texts, `FILES`, into ``folder``: the same bytes for the same texts.

    Memory is some 4 bytes per term of the texts, repeated ones counted, and some 60 bytes per posting: about 4 bytes for
    each character of English.

    Args:
        texts: the chunks' texts, in the order of their ordinals.
        folder: made if it is not there; files of an earlier index in it are replaced.

    Raises:
        NextlongError: there are no texts, or the folder cannot be written.
    """
    import bm25s

    vocabulary: dict[str, int] = {}
    # Lists would take 8 bytes a term; bm25s counts whatever it can iterate.
    documents = [array("i", [vocabulary.setdefault(term, len(vocabulary)) for term in terms(text)]) for text in texts]
    if not documents:
        raise NextlongError(f"There are no chunks to index in {folder}.", "Check that the corpus has documents.")
    # In float64, rounded once: in float32 the last bits would depend on NumPy's rules of conversion, which have changed.
    model = bm25s.BM25(k1=K1, b=B, method=METHOD, dtype="float64", backend="numpy")
    with np.errstate(invalid="ignore"):  # texts without any term have a mean length of 0
        model.index((documents, vocabulary), create_empty_token=False, show_progress=False)
    lengths = [len(document) for document in documents]
    del documents
    model.dtype = "float32"
    model.scores["data"] = (np.rint(model.scores["data"] * _GRID) / _GRID).astype(np.float32)
    _write(model, vocabulary, folder)
    return LexicalReport(len(lengths), len(vocabulary), len(model.scores["data"]), sum(lengths) / len(lengths))


class LexicalIndex:
    """Finds the chunks whose words fit a text best, by BM25.

    A query is the multiset of its terms: one that it has three times counts three times, as in Lucene, where a query is
    a text. Its answer is a function of the text, k and the pool alone: shares are added up without any rounding (see
    `_GRID`), rounded to float32 once, and equal scores are ordered by ordinal. So a deeper search gives the same chunks
    first.

    The postings stay on disk, memory-mapped, and are shared between processes; the vocabulary, some 150 bytes a term, is
    not. A query takes one thread: on a pool of 140,000 chunks some 6 ms, nearly all of it adding up the postings of
    frequent words, so it grows with the pool. Two threads were no faster than one.

    Args:
        folder: where the index was loaded from.
        vocabulary: the number of each term.
        matrix: float32 and int32 of shape ``(postings,)``, the share of a term in a chunk's score and the chunk's ordinal,
            by term and ordinal; int64 of shape ``(terms + 1,)``, where each term's begin.
        chunks: how many the pool has.
    """

    def __init__(
        self, folder: Path, vocabulary: dict[str, int], matrix: tuple[Float32s, npt.NDArray[np.int32], Ordinals], chunks: int
    ) -> None:
        self.chunks = chunks
        self._folder = folder
        self._vocabulary = vocabulary
        # Still memory-mapped, but slicing an array is ten times as fast as slicing a `memmap`.
        self._shares, self._ordinals, self._starts = map(np.asarray, matrix)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (load_lexical, (self._folder, self.chunks))

    def search(self, texts: Sequence[str], k: int) -> tuple[Float32s, Ordinals]:
        """The k best chunks for each text, best first, equal scores in ascending order of ordinals.

        Args:
            texts: the queries, ``q`` of them: whole chunks, usually.
            k: how many to find, at least 1; may be more than the pool holds.

        Returns:
            Scores, float32 ``(q, k)``, above 0 and without an upper bound, and chunk ordinals, int64 ``(q, k)``; rows end
            in -inf and -1 where fewer than k chunks share a term with the text. A text that is itself a chunk of the pool
            finds itself like any other.

        Raises:
            UsageError: k is below 1.
            NextlongError: the index names chunks that the pool does not have.
        """
        if k < 1:
            raise UsageError(f"Cannot search for the {k} nearest chunks; ask for 1 or more.")
        scores = np.full((len(texts), k), -np.inf, dtype=np.float32)
        ordinals = np.full((len(texts), k), -1, dtype=np.int64)
        for row, text in enumerate(texts):
            found = self._scores(text).astype(np.float32)
            best = _best(found, k)
            scores[row, : len(best)], ordinals[row, : len(best)] = found[best], best
        return scores, ordinals

    def _scores(self, text: str) -> Float64s:
        """The exact score of every chunk, float64 ``(chunks,)``."""
        from scipy.sparse import csc_array

        known = (self._vocabulary.get(term) for term in terms(text))
        counts = Counter(number for number in known if number is not None)
        numbers = np.array(sorted(counts), dtype=np.int64)
        weights = np.array([counts[number] for number in numbers.tolist()], dtype=np.float64)
        starts, ends = self._starts[numbers], self._starts[numbers + 1]
        before = np.cumsum(ends - starts) - (ends - starts)
        borders = np.flatnonzero(np.diff(before // _POSTINGS)) + 1
        totals = np.zeros(self.chunks)
        for group in np.split(np.arange(len(numbers)), borders) if len(numbers) else ():
            ranges = [slice(*border) for border in zip(starts[group].tolist(), ends[group].tolist(), strict=True)]
            ordinals = np.concatenate([self._ordinals[each] for each in ranges])
            # SciPy adds where it is told to without looking; as unsigned, -1 is too large like all the others.
            if len(ordinals) and ordinals.view(np.uint32).max() >= self.chunks:
                raise _broken(self._folder, "it names chunks that the pool does not have")
            shares = np.concatenate([self._shares[each] for each in ranges], dtype=np.float64)
            # Without this SciPy would make `ordinals` int64, too.
            columns = np.concatenate([[0], np.cumsum((ends - starts)[group])]).astype(np.int32)
            totals += csc_array((shares, ordinals, columns), shape=(self.chunks, len(group))) @ weights[group]
        return totals


def load_lexical(folder: Path, chunks: int) -> LexicalIndex:
    """Open an index that `build_lexical` wrote.

    Args:
        folder: where.
        chunks: how many chunks the pool has.

    Raises:
        NextlongError: a file is missing or damaged, or the index is of another pool.
    """
    try:
        shares, ordinals, starts = (
            load_array(folder / name, dtype) for name, dtype in zip(_ARRAYS, (np.float32, np.int32, np.int64), strict=True)
        )
        vocabulary = mapping(read_json(folder / _VOCABULARY), folder / _VOCABULARY)
        parameters = mapping(read_json(folder / _PARAMETERS), folder / _PARAMETERS, "k1", "b", "method", "num_docs")
    except OSError as error:
        raise _broken(folder, str(error)) from error
    except NextlongError as error:
        raise _broken(folder, error.message.rstrip(".")) from error
    if list(vocabulary.values()) != list(range(len(starts) - 1)):
        raise _broken(folder, f"its vocabulary of {len(vocabulary)} terms is not that of its matrix")
    if not len(starts) or starts[0] != 0 or np.any(np.diff(starts) < 0) or not len(shares) == len(ordinals) == starts[-1]:
        raise _broken(folder, f"its files have {len(shares)}, {len(ordinals)} and {starts[-1:].sum()} postings")
    if (parameters["method"], parameters["k1"], parameters["b"]) != (METHOD, K1, B):
        raise _broken(folder, f"it was made with other parameters: {parameters}")
    if parameters["num_docs"] != chunks:
        raise _broken(folder, f"it was made from {parameters['num_docs']} chunks, the pool has {chunks}")
    return LexicalIndex(folder, vocabulary, (shares, ordinals, starts), chunks)


def _best(scores: Float32s, k: int) -> Ordinals:
    """The ordinals of the k largest scores above 0 at most, by (descending score, ascending ordinal)."""
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        bar = np.partition(scores[found], -k)[-k]
        above, level = found[scores[found] > bar], found[scores[found] == bar]
        found = np.sort(np.concatenate([above, level[: k - len(above)]]))
    return found[np.argsort(-scores[found], kind="stable")]


def _write(model: Any, vocabulary: dict[str, int], folder: Path) -> None:
    """Write what `BM25.save` would, `FILES`, each whole or not at all, the parameters last: they say that all is there.

    That function would write past Python, so that a full disk was an error without a number, JSON by another library
    where that is installed, and its own version.
    """
    try:
        (folder / _PARAMETERS).unlink(missing_ok=True)
    except OSError as error:
        raise explained(error, folder / _PARAMETERS) from error
    for name, array_name in zip(_ARRAYS, ("data", "indices", "indptr"), strict=True):
        values = np.ascontiguousarray(model.scores[array_name])
        with atomic(folder / name) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
            file.write(values.data)
    with atomic(folder / _VOCABULARY) as temporary:
        temporary.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    names = ("k1", "b", "delta", "method", "idf_method", "dtype", "int_dtype", "backend")
    write_json(
        folder / _PARAMETERS, {**{name: getattr(model, name) for name in names}, "num_docs": model.scores["num_docs"]}
    )


def _broken(folder: Path, why: str) -> NextlongError:
    return NextlongError(
        f"Cannot use the BM25 index {folder}: {why}.",
        "Delete the folder and run `nextlong index` again: it makes the index anew and keeps the rest of the pool.",
    )


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """A word with its marks; a character of `_UNSPACED`; a word's parts with and without such; one with its marks."""
    # Python's \w has no combining marks, without which words of Hindi and many others fall apart.
    marks = "".join(chr(code) for code in range(0x300, 0x1F000) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
    return (
        re.compile(rf"\w[\w{marks}]*"),
        re.compile(f"[{_UNSPACED}]"),
        re.compile(f"[{_UNSPACED}][{_UNSPACED}{marks}]*|[^{_UNSPACED}]+"),
        re.compile(f"[^{marks}][{marks}]*|[{marks}]+"),
    )
