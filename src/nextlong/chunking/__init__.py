"""Documents to chunks (paper §3.1): the authors' chunker, the lossless default, and one that counts tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nextlong.chunking.chunk import Chunk, is_blank
from nextlong.chunking.lossless import chunk_lossless
from nextlong.chunking.paper import chunk_as_paper, paper_chunks
from nextlong.config import ChunkingConfig
from nextlong.errors import UsageError

__all__ = ["Chunk", "is_blank", "make_chunker", "paper_chunks"]

# A paragraph up to twice the granularity stays whole, as in the paper; a longer one would be a chunk unlike the others.
CAP_FACTOR = 2


def make_chunker(config: ChunkingConfig) -> Callable[[str], list[Chunk]]:
    """What cuts a document's text into chunks, in document order; at least one, and blank ones where the chunker makes them.

    Raises:
        UsageError: a cap below the granularity or for the ``paper`` chunker, or ``tokens`` without a tokenizer.
    """
    if config.chunker == "paper":
        if config.cap is not None:
            raise UsageError("The `paper` chunker has no cap: it keeps long paragraphs whole.", "Leave out `cap`.")
        return partial(chunk_as_paper, granularity=config.granularity)
    cap = CAP_FACTOR * config.granularity if config.cap is None else config.cap
    if cap < config.granularity:
        raise UsageError(f"The cap of a chunk, {cap}, is below the granularity, {config.granularity}.", "Raise `cap`.")
    if config.chunker == "lossless":
        return partial(chunk_lossless, granularity=config.granularity, cap=cap)
    if config.tokenizer is None:
        raise UsageError(
            "The `tokens` chunker needs a tokenizer to count with.",
            "Set `tokenizer` in the chunking section: a folder, a tokenizer.json, a name, or tiktoken:ENCODING.",
        )
    from nextlong.chunking.tokens import chunk_by_tokens
    from nextlong.tokenization.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(config.tokenizer)
    return partial(chunk_by_tokens, tokenizer=tokenizer, granularity=config.granularity, cap=cap)
