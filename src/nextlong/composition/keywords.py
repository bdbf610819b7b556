"""Quest's keywords: what a document is about in a few words, and which documents share a keyword.

Quest (Gao et al., ICLR 2025, arXiv 2405.19846, §3) predicts queries for each document, takes keywords from the queries
with RAKE, drops those that score below 3.0 and those that are frequent but say nothing, keeps one at random for each
document, indexes the documents by it, oversamples the keywords that have few documents, and concatenates documents of one
keyword, drawn without replacement. Here the keywords of a document come from its own text or from predicted queries,
joined with newlines.

RAKE is Rose et al., "Automatic Keyword Extraction from Individual Documents", 2010: a candidate is a run of words between
stop words and punctuation; a word scores degree / frequency, where its degree sums the lengths in words of the candidates
it stands in; a candidate scores the sum of its words.

Beyond RAKE: a line break ends a candidate (headings, table rows, queries), and so does a token that is no word: a number,
a single letter, anything that begins with a digit or has more than ``LONGEST_WORD`` characters. Languages that write
without spaces have no candidates of several words, and so hardly a keyword: give them queries, with spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nextlong.errors import UsageError

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

MIN_SCORE = 3.0  # Quest §3
# The usual limit of public RAKE implementations (Quest's is unknown). Longer candidates are mostly debris of tables and
# code, and hardly ever shared by two documents; they do not count towards the scores of their words.
MAX_WORDS = 3
# What Quest's paper names as frequent without saying anything. ``usable`` finds more of that kind by counting.
UNINFORMATIVE = frozenset({"following sentence", "best way"})
LONGEST_WORD = 40  # identifiers get this long; what is longer is encoded data
# A fraction of a second. A longer text has thousands of keywords by then, of which one is kept.
MAX_CHARACTERS = 1_000_000
SPLIT_RATIO = 0.2  # from 10 to 30 percent were best (Quest, appendix A.4)

# Each kind of draw has its own stream, so that equal seeds and keys in different places do not give equal numbers.
_CHOICE, _GROUPS, _DOCUMENTS = 0x71_01, 0x71_02, 0x71_03

# Words that hold sentences together, say how much or how often, or announce what follows.
ENGLISH_STOP_WORDS = frozenset(
    """
    a about above across after again against all almost alone along already also although always am among an and another any
    anybody anyone anything anywhere are aren't around as at away back be became because become becomes been before behind
    being below beside besides best better between beyond both but by call called calls can cannot could couldn't did didn't
    do does doesn't don't done down due during each either else enough especially etc even ever every everybody everyone
    everything everywhere example except far few fewer first follow followed following follows for former four from further
    furthermore generally get gets getting give given gives giving go goes going got had hadn't has hasn't have haven't
    having he hence her here herself him himself his how however i if in indeed instead into is isn't it its itself just
    keep keeps kept kind know known knows last later latter least less let lets like made make makes making many may maybe
    me mean means meant might more moreover most mostly much must mustn't my myself namely near nearly need needed needn't
    needs neither never nevertheless next no none nor not nothing now of off often on once one ones only onto or other
    others otherwise ought our ourselves out over own per perhaps probably provide provided provides put quite rather re
    really same second see seem seemed seems seen several shall she should shouldn't show showed shown shows simply since so
    some someone something sometimes soon still such take taken takes taking than that the their them themselves then there
    thereby therefore these they thing things this those though three through throughout thus till to together too took
    toward towards two under unless until up upon us use used useful uses using usually various very via want wanted wants
    was wasn't way ways we well were weren't what whatever when whenever where whereas wherever whether which while who
    whole whom whose why will with within without won't would wouldn't yet you your yours yourself yourselves
    """.split()  # noqa: SIM905 -- one word a line would be several hundred lines
)


@dataclass(frozen=True)
class KeywordSettings:
    """What counts as a keyword.

    Attributes:
        min_score: keywords that score less are dropped.
        max_words: candidates of more words are dropped.
        min_characters: a shorter word ends a candidate, as a stop word does; 2 keeps single letters out.
        max_characters: how much of a text is read; None reads all of it.
        stop_words: lower-case words that end a candidate; of another language, or none.
        uninformative: keywords that are dropped wherever they come up.
    """

    min_score: float = MIN_SCORE
    max_words: int = MAX_WORDS
    min_characters: int = 2
    max_characters: int | None = MAX_CHARACTERS
    stop_words: frozenset[str] = ENGLISH_STOP_WORDS
    uninformative: frozenset[str] = UNINFORMATIVE


class _Words(dict[str, str]):
    """From a token to the word it is, or to a newline if it ends a candidate. Each distinct token is judged once."""

    def __init__(self, settings: KeywordSettings) -> None:
        super().__init__()
        self._stop_words = settings.stop_words
        self._shortest = settings.min_characters

    def __missing__(self, token: str) -> str:
        word = token.strip("_")  # emphasis in Markdown, references in reStructuredText, private names
        stop = word in self._stop_words or ("'" in word and word.partition("'")[0] in self._stop_words)  # it's, we'll
        fits = word[:1].isalpha() and self._shortest <= len(word) <= LONGEST_WORD
        self[token] = answer = word if fits and not stop else "\n"
        return answer


@lru_cache(maxsize=2)
def _tokens(ascii_only: bool) -> re.Pattern[str]:
    """Words, with hyphens and apostrophes inside, and runs of all that ends a candidate; spaces are passed over."""
    inside = r"\w"
    if not ascii_only:
        # Python's \w has no combining marks, and would cut words of Hindi or Thai at every vowel sign; the two joiners
        # stand inside words of Persian and of Indian languages.
        marks = (chr(code) for code in range(0x300, 0x10000) if unicodedata.category(chr(code)) in ("Mn", "Mc"))
        inside += "".join(marks) + "\u200c\u200d"
    return re.compile(rf"\w[{inside}]*(?:['-]\w[{inside}]*)*|[^\w ]+")


def _folded(text: str) -> str:
    """In lower case, composed, with one kind of apostrophe, hyphen and space."""
    text = text.lower()
    if text.isascii():
        return text
    for found, plain in (("\u2019", "'"), ("\u2010", "-"), ("\u2011", "-"), ("\u00ad", ""), ("\u00a0", " ")):
        text = text.replace(found, plain)
    return unicodedata.normalize("NFC", text)


def _candidates(text: str, settings: KeywordSettings) -> Counter[str]:
    """How often each candidate occurs: words in lower case with single spaces between them."""
    read = text[: settings.max_characters]
    folded = _folded(read)
    words = _Words(settings)
    marked = " ".join(map(words.__getitem__, _tokens(folded.isascii()).findall(folded)))
    if len(read) < len(text):
        marked = marked.rpartition("\n")[0]  # the last candidate may have been cut
    counts = Counter(map(str.strip, marked.split("\n")))
    return Counter({phrase: count for phrase, count in counts.items() if phrase and phrase.count(" ") < settings.max_words})


def document_keywords(text: str, settings: KeywordSettings | None = None) -> list[tuple[str, float]]:
    """The keywords of a text with their RAKE scores (Rose et al. 2010), best first and ties in alphabetical order.

    Args:
        text: a document, or predicted queries with newlines between them.
        settings: None for the defaults.

    Returns:
        Distinct keywords in lower case, with single spaces between words, that score ``min_score`` or more. Scores are
        rounded to six decimals, so that sums of fractions compare equal where they are.
    """
    settings = settings or KeywordSettings()
    candidates = _candidates(text, settings)
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    split = {phrase: phrase.split(" ") for phrase in candidates}
    for phrase, words in split.items():
        count = candidates[phrase]
        for word in words:
            frequency[word] += count
            degree[word] += count * len(words)
    of_word = {word: degree[word] / frequency[word] for word in frequency}
    scores = {phrase: round(sum(map(of_word.__getitem__, words)), 6) for phrase, words in split.items()}
    kept = [(p, score) for p, score in scores.items() if score >= settings.min_score and p not in settings.uninformative]
    return sorted(kept, key=lambda keyword: (-keyword[1], keyword[0]))


def usable(
    ids: Keys, starts: Integers, min_documents: int = 2, max_share: float = 0.02, per_document: int | None = 3
) -> npt.NDArray[np.bool_]:
    """Which keywords of each document can bring it together with others.

    Quest drops keywords that are frequent and say nothing; no rule of it was to be found, but counting finds such, as the
    boilerplate of a site. The other limits are ours, for keywords of documents themselves: a long document, unlike a few
    predicted queries, has mostly keywords that hardly any other has, and one drawn from all would leave it alone.

    Args:
        ids: uint64, shape ``(n,)``: document after document its distinct keywords, each as a number of its own.
        starts: int64, shape ``(documents + 1,)``: where each document's keywords begin in ``ids``.
        min_documents: fewer documents with a keyword are too few.
        max_share: a larger share of the documents is too many, unless that is ``min_documents`` or fewer.
        per_document: of those left to a document, so many of most documents, ties to the lower id; None for all.

    Returns:
        bool, shape ``(n,)``.
    """
    documents = len(starts) - 1
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    count = counts[inverse]
    kept = np.asarray((count >= min_documents) & (count <= max(min_documents, int(max_share * documents))))
    if per_document is not None:
        owner = np.repeat(np.arange(documents), np.diff(starts))
        order = np.lexsort((ids, -count, ~kept, owner))
        kept[order] &= np.arange(len(ids)) - starts[owner] < per_document
    return kept


def choose_keyword(keywords: Sequence[str], seed: int, key: int) -> str | None:
    """One of a document's keywords at random, each as likely (Quest §3); None if it has none.

    It depends on the seed and the document's key, both 0 or more, and on which keywords there are, not on their order.
    """
    distinct = sorted(set(keywords))
    if not distinct:
        return None
    return distinct[int(np.random.default_rng([seed, key, _CHOICE]).integers(len(distinct)))]


def keyword_ids(keywords: Sequence[str | None]) -> tuple[list[str], Integers]:
    """Numbers for the keywords of documents: the distinct ones in alphabetical order, and each document's; -1 for None."""
    names = sorted({keyword for keyword in keywords if keyword is not None})
    number = {name: place for place, name in enumerate(names)}
    return names, np.array([-1 if keyword is None else number[keyword] for keyword in keywords], dtype=np.int64)


@dataclass(frozen=True)
class KeywordIndex:
    """Quest's inverted index: the documents of each keyword. A keyword with its documents is a group.

    Attributes:
        keywords: int64, shape ``(groups,)``: keyword ids, ascending.
        starts: int64, shape ``(groups + 1,)``: where each group begins in ``documents``.
        documents: int64: document ordinals, group after group, ascending within a group.
    """

    keywords: Integers
    starts: Integers
    documents: Integers

    def members(self, group: int) -> Integers:
        """The document ordinals of a group."""
        return self.documents[self.starts[group] : self.starts[group + 1]]


def inverted_index(keyword_of: Integers) -> KeywordIndex:
    """Group documents by keyword (Quest §3); ``keyword_of`` has each one's keyword id, negative for those to leave out."""
    order = np.argsort(keyword_of, kind="stable")
    order = order[np.searchsorted(keyword_of[order], 0) :]
    keywords, starts = np.unique(keyword_of[order], return_index=True)
    return KeywordIndex(keywords, np.append(starts, len(order)).astype(np.int64), order.astype(np.int64))


def group_weights(
    documents: Integers, tokens: Integers, split_ratio: float = SPLIT_RATIO, power: float = 1.0
) -> npt.NDArray[np.float64]:
    """How likely each group is to be drawn, with the rare ones oversampled.

    Unless oversampled, a group weighs its tokens, so that every document is read equally often. Quest (§3) sorts the
    keywords by their number of documents and oversamples the ``split_ratio`` with fewest. Its equations 1 and 2, which say
    by how much, were not to be found, so this is ours: the rare keywords are those of fewest documents that have that share
    of the documents (a share of the keywords would be only those of one document, as most are), and each is drawn as if it
    had as many documents, of its size, as the first keyword after them has. Weights do not depend on how ties are sorted.

    Args:
        documents: int64, shape ``(groups,)``: how many documents each has, 1 or more.
        tokens: int64, shape ``(groups,)``: their tokens together.
        split_ratio: from 0, no oversampling, to 1, where all count as many documents as the largest has.
        power: of the weights; below 1 it flattens them all, another way to favour what is rare.

    Returns:
        float64, shape ``(groups,)``, summing to 1.

    Raises:
        UsageError: ``split_ratio`` is not within 0 to 1 or ``power`` is not above 0.
    """
    if not (0 <= split_ratio <= 1 and power > 0):
        raise UsageError(f"split_ratio is {split_ratio}, power {power}", "Use 0 to 1, best 0.1 to 0.3, and a power above 0.")
    if not len(documents):
        return np.zeros(0)
    ordered = np.sort(documents)
    split = np.searchsorted(np.cumsum(ordered), split_ratio * ordered.sum(), side="right")
    weights = (tokens * np.maximum(1.0, ordered[min(split, len(ordered) - 1)] / documents)) ** power
    return np.asarray(weights / weights.sum())


def group_order(weights: npt.NDArray[np.float64], draws: int, seed: int) -> Integers:
    """Which group each of ``draws`` sequences is made of, in random order: int64, shape ``(draws,)``; empty without groups.

    Every group comes as often as its weight says (float64, summing to 1), rounded down or up at random, and not as often as
    chance would have it (systematic sampling): nothing large is passed over, nothing small is repeated much.
    """
    if not len(weights):
        return np.zeros(0, dtype=np.int64)
    generator = np.random.default_rng([seed, _GROUPS])
    upper = np.floor(np.cumsum(weights) * draws + generator.random())
    upper[-1] = draws  # whatever the rounding of the sum
    visits = np.diff(np.minimum(upper, draws), prepend=0).astype(np.int64)
    return np.asarray(generator.permutation(np.repeat(np.arange(len(weights), dtype=np.int64), visits)))


def shuffled_documents(documents: Integers, seed: int, keyword: int, visit: int) -> Integers:
    """A group's documents in the order to take them, for its ``visit``-th sequence: drawn without replacement (Quest §3)."""
    return np.asarray(np.random.default_rng([seed, keyword, visit, _DOCUMENTS]).permutation(documents))
