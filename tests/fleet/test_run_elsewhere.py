"""`verify --on` and `probe --on`: the same work on devices, and what failed says on which."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from builders import probes
from msgspec.structs import replace
from run_devices import pinned_device

from edgeprof import probe, store, verify
from edgeprof.api.kept_probe import file_of
from edgeprof.cli.probe import probe as command
from edgeprof.errors import RunError, UsageError, VerificationError
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import MeasureCeilings, Probed, Request
from edgeprof.fleet.turn import client
from edgeprof.measure import machine
from edgeprof.schema import Probe, decode, encode


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two devices."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(contextlib.closing(pinned_device(name, tmp_path))) for name in ("left", "right")]

        @contextlib.contextmanager
        def open_links(names: Sequence[str], **_: object) -> Iterator[list[Link]]:
            yield [link for link in links if link.name in names]

        monkeypatch.setattr("edgeprof.api.verify.open_links", open_links)
        yield


@pytest.mark.usefixtures("on")
def test_devices_verify_against_pytorch_and_say_which_of_them_differs(models: Path, tmp_path: Path) -> None:
    own = tmp_path / "models"
    shutil.copytree(models / "bert-tiny", own / "bert-tiny")
    done = verify(["bert-tiny"], on=["left", "right"], models=own)
    places = [(str(one.precision), {check.host for check in one.checks}) for one in done]
    assert places == [("fp32", {"left"}), ("int8", {"left"}), ("fp32", {"right"}), ("int8", {"right"})]
    assert {check.against for one in done for check in one.checks} == {"PyTorch"}
    assert verify(["bert-tiny"], models=own)[0].checks[0].host == ""
    file = next((own / "bert-tiny/fp32").glob("*.npz"))
    with np.load(file) as arrays:
        moved = {name: value + 1 if value.dtype.kind == "f" else value for name, value in arrays.items()}
    np.savez(file, **moved)
    with pytest.raises(VerificationError, match=r"^left, bert-tiny fp32: (?!left)"):
        verify(["bert-tiny"], on=["left"], models=own)
    with pytest.raises(UsageError, match=r"^--on verifies at the sizes of PyTorch's values"):
        verify(["bert-tiny"], on=["left"], seq=[4], models=own)


class Answering:
    """A device that gives a probe that was recorded before: measuring one takes minutes."""

    name = "pi5"

    def __init__(self, seen: Probe) -> None:
        self.seen = seen
        self.asked: MeasureCeilings | None = None

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        asked = msgspec.msgpack.decode(request, type=Request)
        assert isinstance(asked, MeasureCeilings)
        self.asked = asked
        return msgspec.msgpack.encode(Probed(probe=self.seen))

    def close(self) -> None:
        pass


def test_the_probe_of_a_device_is_kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path))
    seen = probes.probe(machine.describe())
    device = Answering(seen)
    monkeypatch.setattr("edgeprof.api.probe.open_links", lambda *_, **__: contextlib.nullcontext([device]))
    assert probe(on="pi5", threads=2, force=True, out=tmp_path / "pi5.json") == seen
    assert device.asked == MeasureCeilings(threads=2, force=True, client=client())
    assert decode((tmp_path / "pi5.json").read_bytes(), Probe, "") == seen
    assert file_of(seen.machine.machine_id, seen.threads).is_file()
    device.seen = replace(seen, machine=replace(seen.machine, machine_id="../../evil"))
    with pytest.raises(RunError, match=r"^pi5 gave no id of its machine"):
        probe(on="pi5")


def test_a_device_that_was_not_quiet_is_named_with_the_command_that_probes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path))
    seen = replace(probes.probe(machine.describe()), notes=("This machine is not quiet: it is busy.",))
    monkeypatch.setattr("edgeprof.api.probe.open_links", lambda *_, **__: contextlib.nullcontext([Answering(seen)]))
    out = tmp_path / "pi5.json"
    command(on="pi5", threads=2, out=out)
    told = "pi5: This machine is not quiet: it is busy. For better ceilings, run: "
    assert f"{told}edgeprof probe --on pi5 --threads 2 --out {out} --force\n" in capsys.readouterr().out
    store.write_atomic(file_of(seen.machine.machine_id, seen.machine.cores_allowed), encode(seen))
    command()
    assert "\nThis machine is not quiet: it is busy. For better ceilings, run: edgeprof probe --force\n" in (
        capsys.readouterr().out
    )
