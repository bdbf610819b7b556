"""Small tokenizers of the kinds that people use, trained or put together here."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise

import tiktoken
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from nextlong.tokenization.huggingface import HuggingFaceTokenizer
from nextlong.tokenization.tiktoken_encoding import TiktokenTokenizer

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The pattern of o200k_base: a line of punctuation may go on with slashes after its newlines.
O200K_PATTERN = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)

EOS = "<|endoftext|>"

# White space in every combination, so that merges across it are learnt; words, punctuation, several scripts.
TEXTS = [
    "The end.\n\nThe next one.\n\n\n\nAnd\n\n  more:\n\n\t- item\n\n    code();\n\n",
    "a\n\n\nb\n\n\n\n\nc\r\n\r\nd  e   f    g\t\th \n \n i \t\n\n",
    "a a a a a a a of the world, in the of the and the.  the end of the\n",
    "*/\n\n//\n\n/*\n\n.\n\n/ );\n\n}\n\n--- ===\n\n---\n\n### title\n\n",
    "don't 's I'm 1234567 12 3,456.78 caf\u00e9 cafe\u0301 \u6f22\u5b57\u3002\u6f22\u5b57 \u304b\u3099",
    "\U0001f469\u200d\U0001f469\u200d\U0001f466 \u00a0\u00a0 \u2028 \u2028\u2028 <s> </s>",
] * 20


def _byte_level(pre_tokenizer: pre_tokenizers.PreTokenizer, ignore_merges: bool = False, normalizer: object = None) -> str:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer.to_str()


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _gpt2() -> str:
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))


def _digits() -> str:
    return _byte_level(
        pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    )


def _llama3() -> str:
    """Words that are in the vocabulary are looked up whole, also those that merges would not make."""
    data = json.loads(_byte_level(_split(LLAMA3_PATTERN), ignore_merges=True))
    vocabulary = data["model"]["vocab"]
    for word in ("\u010a" * 6, "\u010a" * 9, "\u0120\u0120\u010a\u010a", ".\u010a\u010a\u010a"):
        vocabulary.setdefault(word, len(vocabulary))
    return json.dumps(data)


def _nfc() -> str:
    """As Qwen: NFC before anything else, and added tokens that are not special, one of which swallows white space."""
    tokenizer = Tokenizer.from_str(_byte_level(_split(LLAMA3_PATTERN), normalizer=normalizers.NFC()))
    tokenizer.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False)]
    )
    return tokenizer.to_str()


def _white_runs() -> str:
    """As GPT-NeoX: runs of spaces are added tokens, found before the text is split into words."""
    tokenizer = Tokenizer.from_str(_gpt2())
    tokenizer.add_tokens([AddedToken(" " * n, normalized=False) for n in range(2, 12)])
    return tokenizer.to_str()


def _llama2() -> str:
    """SentencePiece BPE as converted from Llama 2: a dummy prefix, no splitting, bytes for what is not in the vocabulary."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "\u2581")
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    trained.train_from_iterator([text.replace("\n", " ") for text in TEXTS], trainer)
    data = json.loads(trained.to_str())
    model = data["model"]
    for value in range(256):
        model["vocab"][f"<0x{value:02X}>"] = len(model["vocab"])
    model["byte_fallback"] = model["fuse_unk"] = True
    data["pre_tokenizer"] = None
    data["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }
    data["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    return json.dumps(data)


def _unigram(normalizer: object = None) -> str:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    data = json.loads(tokenizer.to_str())
    # Every real vocabulary has this word, and prefers it to its letters.
    pieces = [piece for piece in data["model"]["vocab"] if piece[0] != "\u2581a"]
    data["model"]["vocab"] = [*pieces, ["\u2581a", -1.0]]
    return json.dumps(data)


def _t5() -> str:
    """As T5: compatibility forms, white space of all kinds folded to one space, none at the ends."""
    steps = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    return _unigram(normalizers.Sequence(steps))


def _superwords() -> str:
    """BPE without any splitting: tokens reach across words, lines and separators."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer.to_str()


def tiktoken_encoding(pattern: str, name: str = "small") -> tiktoken.Encoding:
    """A tiktoken encoding with a few hundred tokens of its own, learnt in the plainest way."""
    import regex

    words = [[bytes([value]) for value in word.encode()] for text in TEXTS[:6] for word in regex.findall(pattern, text)]
    ranks = {bytes([value]): value for value in range(256)}
    for _ in range(250):
        counts: dict[tuple[bytes, bytes], int] = {}
        for word in words:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        ranks[best[0] + best[1]] = len(ranks)
        words = [_merge(word, best) for word in words]
    special = {EOS: len(ranks), "<|startoftext|>": len(ranks) + 1}
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


def _merge(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    merged: list[bytes] = []
    for piece in word:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


_CONTENT = {
    "gpt2": _gpt2,
    "digits": _digits,
    "llama3": _llama3,
    "nfc": _nfc,
    "white-runs": _white_runs,
    "llama2": _llama2,
    "unigram": _unigram,
    "t5": _t5,
    "superwords": _superwords,
}

NAMES = (*_CONTENT, "tiktoken", "tiktoken-o200k")


@cache
def content(name: str) -> str:
    """The tokenizer.json of one of the zoo."""
    return _CONTENT[name]()


@cache
def tokenizer(name: str) -> HuggingFaceTokenizer | TiktokenTokenizer:
    """One of ``NAMES``, with its end token."""
    if name.startswith("tiktoken"):
        return TiktokenTokenizer(tiktoken_encoding(O200K_PATTERN if name.endswith("o200k") else LLAMA3_PATTERN))
    return HuggingFaceTokenizer(content(name), name, eos="</s>" if name in ("llama2", "unigram", "t5") else EOS)
