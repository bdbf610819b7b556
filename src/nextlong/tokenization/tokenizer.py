"""What a tokenizer is here, and how one is found by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nextlong.errors import UsageError

Tokens = npt.NDArray[np.int32]

TIKTOKEN_PREFIX = "tiktoken:"

# A name on the Hugging Face hub: `name` or `owner/name`.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

# Texts that lose something in tokenizers that normalise: white space at the ends and in runs, composed and decomposed
# letters, compatibility forms, control characters, characters that are rarely in a vocabulary.
_REVERSIBILITY_PANEL = (
    "plain words, 1234567 digits",
    " leading",
    "  two leading",
    "\u00a0no-break space first",
    "trailing ",
    "trailing  \n",
    "\n\n\n  blank lines \t\n\n",
    "a\r\nb\rc\u2028d\u0085e",
    "cafe\u0301 caf\u00e9 \ufb01 \u2167 \uff21",
    "\u1100\u1161\u11a8 \u6f22\u5b57\u3002 \u0e17\u0e14\u0e2a\u0e2d\u0e1a",
    "\U0001f469\u200d\U0001f469\u200d\U0001f466 \U0001f3f3\ufe0f",
    "nul \x00 bell \x07 \x7f \ufeff \ufffd",
    "it 's don't , . ! \u2581 <s> </s> <unk>",
)


@runtime_checkable
class Tokenizer(Protocol):
    """Turns text into tokens and back, without ever adding or recognising special tokens.

    Attributes:
        name: as the user wrote it, for example ``models/llama-3`` or ``tiktoken:cl100k_base``.
        fingerprint: a hash of the tokenizer's content; the same wherever its files lie.
        vocabulary_size: every token id is below it; added tokens are included.
        bos_id, eos_id: the ids that begin and end a text, or None where the tokenizer defines none.
        added_tokens: added tokens that are not special and so are found in texts, before these are split into words; and
            whether each swallows white space beside it.
        merges: tokens of one word are merged from neighbours (BPE), not weighed as a whole (Unigram, WordPiece).
        reversible: ``decode(encode(text)) == text`` on a panel of hostile texts.
    """

    name: str
    fingerprint: str
    vocabulary_size: int
    bos_id: int | None
    eos_id: int | None
    added_tokens: dict[str, bool]
    merges: bool
    reversible: bool

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Encode each text by itself.

        No special token is added, and the string of a special token inside a text is plain text: a corpus cannot
        inject an end of text.
        """
        ...

    def encode_whole(self, text: str) -> Tokens:
        """As :meth:`encode_batch` for one text, by the tokenizer's own library and without any shortcut."""
        ...

    def encode_with_ends(self, text: str) -> tuple[Tokens, npt.NDArray[np.int64]]:
        """The tokens of a text, and for each the character offset in the text after its last character.

        A token that holds only some bytes of a character ends after that character.
        """
        ...

    def word_starts(self, text: str) -> npt.NDArray[np.bool_]:
        """For each token of a text whether a word begins with it; tokens of different words are decided apart."""
        ...

    def encode_words(self, text: str) -> tuple[list[int], list[int], list[bool]]:
        """What :meth:`encode_with_ends` and :meth:`word_starts` give, of one encoding: tokens, ends, word starts.

        As lists, which are quicker where a text has few tokens.
        """
        ...

    def cut_between(self, before: str, after: str) -> bool:
        """Whether any text ``x + before + after + y`` has the tokens of ``x + before`` and then those of ``after + y``.

        A word begins there. False where it is not known for certain, or where an added token is in ``before + after``.
        """
        ...

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int]) -> str:
        """The text of tokens; special tokens appear as they are written."""
        ...

    def token_texts(self) -> list[str]:
        """The text of every token that is whole characters, special tokens left out, in no particular order."""
        ...


def load_tokenizer(spec: str) -> Tokenizer:
    """Find and load a tokenizer.

    Args:
        spec: a folder with a ``tokenizer.json`` (begin and end tokens are read from the JSON files beside it), the path
            of a ``tokenizer.json``, the name of a model on the Hugging Face hub, or ``tiktoken:ENCODING`` where ENCODING
            is ``cl100k_base``, ``o200k_base`` … or comes from an installed tiktoken plugin.

    Raises:
        UsageError: there is no such tokenizer, or the folder has only a SentencePiece model.
        NextlongError: it is there but cannot be read or downloaded.
    """
    if spec.startswith(TIKTOKEN_PREFIX):
        from nextlong.tokenization.tiktoken_encoding import load_tiktoken

        return load_tiktoken(spec.removeprefix(TIKTOKEN_PREFIX))
    from nextlong.tokenization.huggingface import load_from_folder, load_from_hub

    path = Path(spec).expanduser()
    if path.is_dir():
        return load_from_folder(path, name=spec)
    if path.is_file():
        if path.suffix != ".json":
            raise UsageError(
                f"The tokenizer {spec} is not a tokenizer.json.",
                "Give the folder that holds a tokenizer.json, or convert the model with transformers: "
                "`AutoTokenizer.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)`.",
            )
        return load_from_folder(path.parent, name=spec, file=path.name)
    if _HUB_NAME.fullmatch(spec):
        return load_from_hub(spec)
    raise UsageError(
        f"There is no tokenizer at {spec}.",
        "Give a folder with a tokenizer.json, a Hugging Face name like `owner/model`, or `tiktoken:cl100k_base`.",
    )


def is_reversible(encode_batch: Callable[[Sequence[str]], list[Tokens]], decode: Callable[[Tokens], str]) -> bool:
    """Whether decoding gives back every text of a panel of hostile texts."""
    encoded = encode_batch(_REVERSIBILITY_PANEL)
    return all(decode(ids) == text for ids, text in zip(encoded, _REVERSIBILITY_PANEL, strict=True))
