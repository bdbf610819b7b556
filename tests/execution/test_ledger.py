"""Receipts: what they vouch for."""

from __future__ import annotations

import pytest
import tasks_for_tests

from nextlong.execution.tasks import Ledger, Task, perform


def task(folder, content, config="a"):
    return Task("stage", "one", tasks_for_tests.write, (folder / "out", content), config, {"in": "1"})


def test_a_receipt_vouches_for_its_configuration_inputs_and_sizes(tmp_path):
    done = task(tmp_path, "AAAA")
    receipt = perform(done, tmp_path)
    ledger = Ledger(tmp_path)
    assert ledger.receipt(done) == receipt
    assert ledger.receipt(task(tmp_path, "AAAA", config="b")) is None
    (tmp_path / "out").write_text("AAA")
    assert ledger.receipt(done) is None


def test_a_task_that_fails_half_way_leaves_no_receipt_of_an_earlier_run(tmp_path):
    """Else the old receipt would vouch for the new file, which has the same size."""
    first = task(tmp_path, "AAAA")
    perform(first, tmp_path)
    killed = Task("stage", "one", tasks_for_tests.write_and_fail, (tmp_path / "out", "BBBB"), "b", {"in": "1"})
    with pytest.raises(ZeroDivisionError):
        perform(killed, tmp_path)
    assert (tmp_path / "out").read_text() == "BBBB"
    assert Ledger(tmp_path).receipt(first) is None
