"""Train a small tokenizer of one's own: for the demonstration, for experiments without a network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from nextlong.errors import UsageError
from nextlong.execution.files import atomic
from nextlong.tokenization.huggingface import TOKENIZER_FILE

BOS = "<|begin_of_text|>"
EOS = "<|end_of_text|>"

# 256 bytes and the two special tokens.
SMALLEST_VOCABULARY = 258


def train_byte_level_bpe(texts: Iterable[str], vocabulary_size: int, folder: str | Path) -> None:
    """Train a byte-level BPE tokenizer and save it as a folder that Hugging Face libraries load.

    Words are split by GPT-2's pattern, digits one by one; nothing is normalised, so every text can be decoded again.
    Equal texts in equal order give equal files.

    Args:
        texts: the texts to learn from.
        vocabulary_size: tokens, the special ones ``<|begin_of_text|>`` (0) and ``<|end_of_text|>`` (1) included. Few
            texts give fewer.
        folder: where to; made when missing.

    Raises:
        UsageError: the vocabulary has no room for the 256 bytes and the special tokens.
        NextlongError: the folder cannot be written.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = Path(folder)
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise UsageError(
            f"A byte-level vocabulary of {vocabulary_size} tokens is too small.", f"Take {SMALLEST_VOCABULARY} or more."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "clean_up_tokenization_spaces": False,
    }
    # The vocabulary last: whoever finds it finds all of it.
    for file, content in (
        ("tokenizer_config.json", json.dumps(config, indent=2)),
        ("special_tokens_map.json", json.dumps({"bos_token": BOS, "eos_token": EOS}, indent=2)),
        (TOKENIZER_FILE, tokenizer.to_str(pretty=True)),
    ):
        with atomic(folder / file) as temporary:
            temporary.write_text(content + "\n", encoding="utf-8")
