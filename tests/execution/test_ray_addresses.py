"""Where Ray is, and where it is not."""

from __future__ import annotations

import sys

import pytest
from cli_runs import run_cli

from nextlong.errors import NextlongError, UsageError
from nextlong.execution.executor import make_executor


def test_the_executor_is_chosen_by_name():
    with pytest.raises(UsageError, match="Unknown executor `spark`"):
        make_executor("spark")
    with pytest.raises(UsageError, match="Only the executor `ray` has an address"):
        make_executor("local", ray_address="auto")
    assert make_executor(workers=3).workers == 3


def test_ray_that_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(NextlongError, match="needs Ray") as caught:
        make_executor("ray")
    assert caught.value.hint == 'pip install "nextlong[ray]"'


def test_an_address_where_no_cluster_answers_is_an_error(monkeypatch, tmp_path):
    pytest.importorskip("ray")
    for address in ("127.0.0.1:1", "[::1]:1"):
        with pytest.raises(NextlongError, match="No Ray cluster answers at") as caught:
            make_executor("ray", ray_address=address)
        assert address in caught.value.message
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    (tmp_path / "corpus.txt").write_text("A text.")
    result = run_cli("index", tmp_path / "corpus.txt", "--out", tmp_path / "pool", "--executor", "ray", "--encoder", "lsa")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: No Ray cluster answers at 127.0.0.1:1: Connection refused.\n  `ray status`")
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize("address", ("somewhere", "host:port", ":6379", "ray://host:10001", "http://host:8265"))
def test_what_is_no_address_is_wrong_usage(address):
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=address) as caught:
        make_executor("ray", ray_address=address)
    assert "HOST:PORT" in caught.value.hint
