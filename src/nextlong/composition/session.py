"""What every task of a dataset needs to know, small enough to send to any worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nextlong.config import DatasetConfig
from nextlong.dataset import layout
from nextlong.pool.pool import Pool, open_pool
from nextlong.tokenization.joins import Joiner
from nextlong.tokenization.store import TokenStore, open_joiner


@dataclass(frozen=True)
class Session:
    """A dataset in the making.

    Attributes:
        folder: the dataset's.
        pool_folder, pool_id: its pool.
        tokenizer, tokenizer_fingerprint: its tokenizer.
        config: its configuration.
    """

    folder: Path
    pool_folder: Path
    pool_id: str
    tokenizer: str
    tokenizer_fingerprint: str
    config: DatasetConfig

    def pool(self) -> Pool:
        """The pool, opened once in each process."""
        return open_pool(self.pool_folder, self.pool_id)

    @property
    def joiner_arguments(self) -> tuple[str, str, str]:
        """What :func:`~nextlong.tokenization.store.open_joiner` takes."""
        return self.tokenizer, self.config.composition.separator, self.tokenizer_fingerprint

    def joiner(self) -> Joiner:
        """The joiner, made once in each process."""
        return open_joiner(*self.joiner_arguments)

    def store(self) -> TokenStore:
        """The pool's token store as it is now."""
        return TokenStore(self.pool(), self.joiner())

    @property
    def bos(self) -> list[int]:
        """The tokens at the start of every sequence: one or none."""
        identity = self.joiner().tokenizer.bos_id
        return [identity] if self.config.composition.bos and identity is not None else []

    @property
    def eos(self) -> list[int]:
        """The tokens at the end of every sequence: one or none."""
        identity = self.joiner().tokenizer.eos_id
        return [identity] if self.config.composition.eos and identity is not None else []

    @property
    def sequences_per_shard(self) -> int:
        """How many sequences make a shard of the dataset."""
        return layout.sequences_per_shard(self.config.length)

    @property
    def content(self) -> int:
        """Tokens of a sequence without its begin and end tokens."""
        return self.config.length - len(self.bos) - len(self.eos)
