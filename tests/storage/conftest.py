"""A bucket in a real S3-compatible server, and a store as this process sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import fsspec
import pytest
import s3_server
from fsspec.config import conf, set_conf_env

from nextlong.execution import object_store


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    with s3_server.running() as address:
        yield address


@pytest.fixture
def s3_environment(s3_address, tmp_path, monkeypatch) -> Iterator[dict[str, str]]:
    """The environment of this process and of those that it starts; each test has an empty mirror."""
    environment = s3_server.environment(s3_address, tmp_path / "cache")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    set_conf_env(conf)  # fsspec reads it when it is imported
    object_store._store.cache_clear()
    yield environment
    conf.pop("s3", None)
    object_store._store.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def bucket(s3_environment) -> str:
    """``s3://…`` of a new bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    fsspec.filesystem("s3", use_listings_cache=False).mkdir(name)
    return f"s3://{name}"
