"""Encoders by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from nextlong.config import EncoderConfig
from nextlong.embedding.protocol import Encoder
from nextlong.errors import UsageError

# What each encoder takes besides its name. An option that would silently do nothing is an error.
_OPTIONS = {
    "static": {"dimensions"},
    "minilm": {"window", "prompt"},
    "lsa": {"dimensions"},
    "sentence-transformers": {"window", "batch_size", "dimensions", "prompt", "device", "trust_remote_code"},
    "endpoint": {"window", "batch_size", "dimensions", "prompt", "model"},
}
# The batch size tunes speed and changes no vector, so it may be given anywhere.
_ALWAYS = {"name", "batch_size"}
_NEEDS_ARGUMENT = {
    "sentence-transformers": "sentence-transformers:BAAI/bge-m3",
    "endpoint": "endpoint:http://localhost:8000/v1",
}


def known_encoders() -> list[str]:
    """The names to choose from, as an error lists them."""
    return ["static", "static:FOLDER", "minilm", "minilm:FOLDER", "lsa", "sentence-transformers:NAME", "endpoint:URL"]


def needs_fit(config: EncoderConfig) -> bool:
    """Whether this encoder is fitted on the corpus before it can encode.

    Raises:
        UsageError: no such encoder.
    """
    return _parsed(config)[0] == "lsa"


def fit_encoder(config: EncoderConfig, texts: Iterable[str], path: Path) -> None:
    """Fit an encoder on a sample of the corpus and write it to ``path``, the same bytes for the same texts.

    Raises:
        UsageError: no such encoder, or one that is not fitted.
        NextlongError: the sample has nothing to fit on.
    """
    if not needs_fit(config):
        raise UsageError(f"The encoder `{config.name}` is not fitted on a corpus.")
    from nextlong.embedding import lsa

    lsa.fit(texts, path, config.dimensions or lsa.DIMENSIONS)


def preparation(config: EncoderConfig) -> str | None:
    """What :func:`load_encoder` has to do first on this machine, in words, if that takes a while."""
    if config.name == "static":
        from nextlong.embedding.static import is_distilled

        if not is_distilled(config.dimensions):
            return "Distilling the encoder `static` from MiniLM: about half a minute, once on this machine"
    return None


def load_encoder(config: EncoderConfig, fitted: Path | None = None) -> Encoder:
    """The encoder that a configuration names, ready to use. Every worker process loads its own.

    Args:
        fitted: what :func:`fit_encoder` wrote, for an encoder that needs it.

    Raises:
        UsageError: no such encoder, or an option that it does not take.
        NextlongError: its package, weights or service is missing; says what to do.
    """
    kind, argument = _parsed(config)
    if kind == "lsa":
        from nextlong.embedding.lsa import LsaEncoder

        if fitted is None:
            raise UsageError("The encoder `lsa` must be fitted before it can encode.", "Call fit_encoder first.")
        return LsaEncoder(config, fitted)
    if kind == "static":
        from nextlong.embedding.static import StaticEncoder

        return StaticEncoder(config, argument)
    if kind == "minilm":
        from nextlong.embedding.minilm import MiniLMEncoder

        return MiniLMEncoder(config, argument)
    if kind == "endpoint":
        from nextlong.embedding.endpoint import EndpointEncoder

        return EndpointEncoder(config, argument)
    from nextlong.embedding.sentence_transformer import SentenceTransformerEncoder

    return SentenceTransformerEncoder(config, argument)


def _parsed(config: EncoderConfig) -> tuple[str, str]:
    """The kind of encoder and what stands after the colon, both checked."""
    kind, colon, argument = config.name.partition(":")
    if kind not in _OPTIONS:
        close = difflib.get_close_matches(kind, _OPTIONS, n=1)
        guess = f"Did you mean `{close[0]}`? " if close else ""
        raise UsageError(f"Unknown encoder `{config.name}`.", f"{guess}Known encoders: {', '.join(known_encoders())}.")
    if (colon and not argument) or (kind in _NEEDS_ARGUMENT and not argument):
        raise UsageError(
            f"The encoder `{config.name}` names no model.", f"Write it like `{_NEEDS_ARGUMENT.get(kind, kind + ':FOLDER')}`."
        )
    if kind == "lsa" and argument:
        raise UsageError(f"The encoder `lsa` takes no `:{argument}`; it is fitted on the corpus.")
    for option, field in EncoderConfig.model_fields.items():
        if option not in _OPTIONS[kind] | _ALWAYS and getattr(config, option) != field.default:
            raise UsageError(
                f"The encoder `{kind}` takes no `{option}`.", f"It takes: {', '.join(sorted(_OPTIONS[kind] | _ALWAYS))}."
            )
    return kind, argument
