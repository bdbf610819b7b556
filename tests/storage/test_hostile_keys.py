"""Keys of a bucket that others may write to: none leads out of the mirror."""

from __future__ import annotations

import os

import pytest

from nextlong.errors import NextlongError
from nextlong.execution import object_store
from nextlong.execution.object_path import located, looked_over


@pytest.mark.parametrize("key", ("a/../../../../../escaped.json", "./escaped.json", "a/..", "../escaped.json"))
def test_a_key_that_leads_out_of_the_mirror_is_left_alone(bucket, tmp_path, key):
    import boto3  # type: ignore[import-untyped]

    folder = located(f"{bucket}/pool")
    client = boto3.client("s3", endpoint_url=os.environ["FSSPEC_S3_ENDPOINT_URL"])
    for name in (f"pool/receipts/{key}", "pool/receipts/good.json"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=name, Body=b"{}")
    with looked_over(folder):
        assert (folder / "receipts" / "good.json").read_text() == "{}"
    names = [path.name for path in (folder / "receipts").iterdir()]
    assert "good.json" in names and not {"", ".", ".."}.intersection(names)
    assert list(tmp_path.parent.rglob("*escaped*")) == []


@pytest.mark.parametrize("key", ("bucket/../../x", "bucket//x", "..", "", "bucket/\0"))
def test_a_place_outside_of_the_mirror_has_no_copy(key):
    place = object_store.Place("s3", key)
    with pytest.raises(NextlongError, match="cannot be kept on this machine"):
        place.mirrored.exists()
    with pytest.raises(NextlongError, match="cannot be kept on this machine"):
        object_store.forget(place)
