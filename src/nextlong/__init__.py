"""Long-context training data from short documents by negative document extension (NExtLong, ICML 2025).

The public interface is small: :func:`build_pool`, :func:`synthesize`, :func:`export`, :func:`mix`, :func:`verify`,
:func:`stats`, :func:`load_dataset_card`, and the exceptions :class:`NextlongError` and :class:`UsageError`. Everything is
loaded when it is first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "NextlongError",
    "Pool",
    "UsageError",
    "build_pool",
    "export",
    "load_dataset_card",
    "mix",
    "stats",
    "synthesize",
    "verify",
]

_HOMES = {
    "NextlongError": "nextlong.errors",
    "Pool": "nextlong.pool.pool",
    "UsageError": "nextlong.errors",
    "build_pool": "nextlong.api",
    "export": "nextlong.api",
    "load_dataset_card": "nextlong.dataset.describe",
    "mix": "nextlong.api",
    "stats": "nextlong.inspection.stats",
    "synthesize": "nextlong.api",
    "verify": "nextlong.api",
}

if TYPE_CHECKING:
    from nextlong.api import build_pool, export, mix, synthesize, verify
    from nextlong.dataset.describe import load_dataset_card
    from nextlong.errors import NextlongError, UsageError
    from nextlong.inspection.stats import stats
    from nextlong.pool.pool import Pool


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nextlong' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
