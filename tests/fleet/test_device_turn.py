"""One piece of work at a time on a device."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeprof.errors import DeviceBusy, StorageError
from edgeprof.fleet.turn import busy_with, turn

HOLD = """
import time
from edgeprof.fleet.turn import turn
with turn("measures", 5):
    print(flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPROF_LOCKS", str(tmp_path))
    return tmp_path


def test_who_waits_too_long_is_told_for_whom() -> None:
    assert busy_with() == ""
    with turn("measures gpt2 fp32, prefill at 16 tokens for anna", 1):
        assert busy_with().startswith("measures gpt2 fp32, prefill at 16 tokens for anna, since 20")
        with pytest.raises(DeviceBusy, match=r"busy: measures gpt2 .* for anna, since .*\. Ask again"), turn("more", 0):
            pass
    assert busy_with() == ""
    with turn("the next", 0):
        pass


def test_a_killed_process_holds_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    assert busy_with().startswith("measures, since")
    child.kill()
    child.wait()
    child.stdout.close()
    assert busy_with() == ""
    with turn("the next", 0):
        pass


def test_who_asks_again_and_again_lets_others_in_between() -> None:
    order: list[str] = []

    def work(name: str) -> None:
        for _ in range(3):
            with turn(name, 20):
                order.append(name)
                time.sleep(0.15)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order) == ["a", "a", "a", "b", "b", "b"]
    assert order not in (list("aaabbb"), list("bbbaaa"))


def test_every_user_may_lock(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        with turn("measures", 0):
            pass
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in locks.iterdir()}
    assert modes == {"edgeprof-device.lock": 0o666, "edgeprof-queue.lock": 0o666}


AS_ANOTHER = """
import os, sys
from edgeprof.errors import DeviceBusy
from edgeprof.fleet.turn import busy_with, turn
if not os.getuid():
    os.setuid(65534)
print(busy_with())
try:
    with turn("measures for ben", 0.1):
        print(busy_with())
except DeviceBusy as problem:
    print(problem)
"""


@pytest.fixture
def for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of locks that every user may reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("EDGEPROF_LOCKS", folder)
        yield


@pytest.mark.usefixtures("for_all")
def test_another_user_waits_as_well() -> None:
    def asked() -> list[str]:
        command = [sys.executable, "-c", AS_ANOTHER]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    with turn("measures for anna", 0):
        busy, refused = asked()
    assert busy.startswith("measures for anna, since ")
    assert refused == f"It is busy: {busy}. Ask again later."
    before, during = asked()
    assert (before, during.partition(",")[0]) == ("", "measures for ben")


def test_a_link_in_place_of_the_lock_is_not_followed(locks: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("of another user")
    (locks / "edgeprof-device.lock").symlink_to(precious)
    with (
        pytest.raises(StorageError, match=r"cannot be locked: .*Remove it, or set EDGEPROF_LOCKS"),
        turn("measures", 0),
    ):
        pass
    assert precious.read_text() == "of another user"
