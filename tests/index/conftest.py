from __future__ import annotations

import pytest
from index_pools import clustered, shards


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """6,000 clustered vectors with copies, in three shards."""
    return shards(tmp_path_factory.mktemp("pool"), clustered(6000), [1000, 1, 4999])
