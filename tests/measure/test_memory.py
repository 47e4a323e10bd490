import sys
from pathlib import Path

import pytest

from edgeprof.measure import memory


def test_status_is_read_in_bytes() -> None:
    status = "Name:\tpython\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssFile:\t   50 kB\nThreads:\t3\n"
    assert memory.parse(status)[:3] == (200 * 1024, 50 * 1024, 300 * 1024)


def test_a_kernel_that_tells_less() -> None:
    assert memory.parse("VmRSS:\t  200 kB\n") == (200 * 1024, 0, 200 * 1024, 0)


def test_shares_are_read_in_bytes() -> None:
    rollup = "00400000-7ff [rollup]\nRss:\t 90 kB\nPss:\t 70 kB\nPrivate_Clean:\t 20 kB\nPrivate_Dirty:\t 40 kB\n"
    assert memory.parse_shares(rollup) == (70 * 1024, 60 * 1024)
    assert memory.parse_shares("") == (None, None)


def test_shares_of_this_process_are_within_what_is_resident() -> None:
    shares = memory.shares()
    if shares.pss_bytes is not None and shares.private_bytes is not None:
        assert 0 < shares.private_bytes <= shares.pss_bytes <= memory.read().peak_bytes


def test_this_process() -> None:
    now = memory.read()
    assert 8 * 2**20 < now.resident_bytes <= now.peak_bytes
    assert now.file_bytes < now.resident_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="clear_refs")
def test_the_peak_starts_again_where_that_is_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = bytearray(64 * 2**20)
    high = memory.read().peak_bytes
    del block
    if not memory.reset_peak():
        pytest.skip("clear_refs is not permitted here")
    assert memory.read().peak_bytes < high - 32 * 2**20
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "not" / "there")
    assert memory.reset_peak() is False
