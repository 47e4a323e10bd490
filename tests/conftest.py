"""What many tests share: small models of every family, exported once, and the command run as a user runs it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import environments
import msgspec
import pytest
from command import Command, Ran, command_line
from xdist_shared import WORKER, Shared, in_turn, rank

if WORKER:
    os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads would take the cores from the other process


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that at the end no process waits long for another."""
    items.sort(key=lambda item: rank(item.path))


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every command that the tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty hub cache, and no hub: weights are random and tests are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("HF_HUB_CACHE", raising=False)
        patch.delenv("EDGEPROF_DEBUG", raising=False)
        patch.delenv("COLUMNS", raising=False)  # which pytest-xdist sets
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of this machine is found out anew, and the user's cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPROF_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGEPROF_LOCKS", str(tmp_path_factory.mktemp("locks")))  # other processes are other devices
        yield


@pytest.fixture
def swiftshader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which WebGPU runs on SwiftShader, a Vulkan device in software."""
    if not environments.SWIFTSHADER:
        pytest.skip("no SwiftShader: make test finds or fetches it")
    for name, value in environments.SWIFTSHADER.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def openvino() -> Path:
    """The Python of the environment with OpenVINO, whose package brings an onnxruntime of its own."""
    if not environments.OPENVINO.is_file():
        pytest.skip("no environment with OpenVINO: make test sets it up")
    return environments.OPENVINO


@pytest.fixture(scope="session")
def device(shared: Shared) -> Path:
    """The folder of the programs of an environment as on a device: `edgeprof[fleet]` of the built wheel, no torch."""

    def install() -> bytes:
        folder = shared.folder / "device"
        folder.mkdir()
        return bytes(environments.install_wheel(folder))

    return Path(shared.once("device", install).decode())


@pytest.fixture
def edgeprof(tmp_path: Path) -> Command:
    """Run `edgeprof WORDS...` in an empty folder."""

    def run(*words: object, at: Path | None = None, **environment: str) -> Ran:
        done = subprocess.run(
            command_line(*words),
            cwd=at or tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """A folder for what is made once, however many processes run the tests."""
    mine = tmp_path_factory.getbasetemp()
    return Shared(mine.parent if WORKER else mine)


@pytest.fixture(scope="session")
def gpt2_checkpoint(shared: Shared) -> Path:
    """A decoder small enough to export in seconds, most of whose weights are its tied embedding, as in GPT-2."""
    import tiny_models

    def build() -> bytes:
        sizes = {"n_layer": 2, "n_embd": 128, "n_head": 4, "n_positions": 64, "vocab_size": 4000}
        return bytes(tiny_models.checkpoint(shared.folder / "checkpoints" / "gpt2-small", "gpt2", "causal-lm", **sizes))

    return Path(shared.once("checkpoint", build).decode())


@pytest.fixture(scope="session")
def exports(shared: Shared, gpt2_checkpoint: Path) -> list[Any]:
    """What `export` returned for one small model of each family, in fp32 and int8."""
    from edgeprof import Export, export

    def build(target: str) -> bytes:
        out = shared.folder / "exported" / "models"
        return msgspec.json.encode(export([target], precision=["fp32", "int8"], out=out))

    targets = [str(gpt2_checkpoint), "bert-tiny", "vit-tiny"]
    results = {target: shared.once(Path(target).name, partial(build, target)) for target in in_turn(targets)}
    return [one for target in targets for one in msgspec.json.decode(results[target], type=list[Export])]


@pytest.fixture(scope="session")
def portable_exports(shared: Shared, gpt2_checkpoint: Path) -> list[Any]:
    """What `export --portable` returned for the decoder of those."""
    from edgeprof import Export, export

    def build() -> bytes:
        out = shared.folder / "exported" / "portable"
        return msgspec.json.encode(export([str(gpt2_checkpoint)], precision=["fp32", "int8"], portable=True, out=out))

    return msgspec.json.decode(shared.once("portable", build), type=list[Export])


@pytest.fixture(scope="session")
def artifacts(exports: list[Any], portable_exports: list[Any]) -> dict[tuple[str, str], Any]:
    """Artifacts of those by ("gpt2" | "gpt2-portable" | "bert" | "vit", precision).

    Not to be changed: copy the folder.
    """
    fused = {(export.artifact.variant.family, export.precision): export.artifact for export in exports}
    return fused | {("gpt2-portable", export.precision): export.artifact for export in portable_exports}


@pytest.fixture(scope="session")
def portable_models(artifacts: dict[tuple[str, str], Any], shared: Shared) -> Path:
    """A folder with those that every provider takes."""
    folder = Path(artifacts["gpt2-portable", "fp32"].location).parents[2]

    def copy() -> bytes:
        for family in ("bert", "vit"):
            source = Path(artifacts[family, "fp32"].location).parents[1]
            shutil.copytree(source, folder / source.name)
        return b""

    shared.once("portable models", copy)
    return folder


@pytest.fixture(scope="session")
def models(artifacts: dict[tuple[str, str], Any]) -> Path:
    """The folder that holds them."""
    return Path(artifacts["gpt2", "fp32"].location).parents[2]
