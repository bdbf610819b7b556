"""Stored tokens that name chunks which the shard does not have."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest

import nextlong
from nextlong.errors import NextlongError
from nextlong.execution.arrow import open_arrow, write_arrow
from nextlong.pool.pool import Pool
from nextlong.tokenization.store import TOKEN_SCHEMA, TokenStore, open_joiner
from nextlong.tokenization.tokenizer import load_tokenizer


@pytest.mark.parametrize("row", (-1, 1 << 30))
def test_a_row_that_the_shard_has_not_is_damage(family_pool, tokenizer_folder, tmp_path, row):
    pool = Pool(shutil.copytree(family_pool.folder, tmp_path / "pool"))
    nextlong.synthesize(pool, tmp_path / "data", workers=1, length=1024, roots=2, tokenizer=tokenizer_folder)
    joiner = open_joiner(tokenizer_folder, "\n\n", load_tokenizer(tokenizer_folder).fingerprint)
    path = min(TokenStore(pool, joiner).folder.glob("*.arrow"))
    batch = open_arrow(path, TOKEN_SCHEMA)
    rows = batch.column("row").to_numpy().copy()
    rows[0] = row
    write_arrow(path, pa.record_batch([pa.array(rows), *batch.columns[1:]], schema=TOKEN_SCHEMA))
    with pytest.raises(NextlongError, match=rf"{path.name} is damaged: it names chunk"):
        TokenStore(pool, joiner).lengths(np.arange(pool.chunks))
