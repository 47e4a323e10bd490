"""Records that are damaged in any way: one sentence that names the file, and nothing is made worse."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from builders import records
from command import Command

from edgeprof.schema import KernelTime, OperatorPass, Outcome, encode
from edgeprof.store import load_machine

RECORDED = Path(__file__).parents[1] / "data" / "run"


SIZES = rb'"(params|memory_bytes|width|threads|type_vocab_size)": ?\d+'
"""A size that each kind of record has."""


def number(value: str) -> Callable[[bytes], bytes]:
    """Put something in place of the first number that is a size."""
    return lambda data: re.sub(SIZES, lambda result: result[0].split(b":")[0] + b":" + value.encode(), data, count=1)


def first_key(data: bytes) -> bytes:
    """A key of the outermost object, with its value, as it would stand before another."""
    fields = json.loads(data.splitlines()[0] if data.startswith(b'{"') else data)
    name, value = next((name, value) for name, value in fields.items() if not isinstance(value, dict))
    return json.dumps({name: value})[1:-1].encode() + b","


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2] + b"\n",
    "binary": lambda data: bytes(range(256)) + b"\n",
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "not UTF-8": lambda data: data.replace(b'"', b'"\xff', 1),
    "null": lambda data: b"null\n",
    "a list": lambda data: b"[]\n",
    "an empty object": lambda data: b"{}\n",
    "nested": lambda data: b"[" * 100_000 + b"\n",
    "twice": lambda data: data.replace(b"{", b"{" + first_key(data), 1),
    "negative": number("-1"),
    "NaN": number("NaN"),
    "infinite": number("1e999"),
    "beyond 64 bits": number("9" * 400),
    "5,000 digits": number("9" * 5000),
    "a fraction": number("1.5"),
    "a text": number('"many"'),
    "nothing": number("null"),
    "newer": lambda data: (
        data.replace(b"{", b'{"schema_version": 7, ', 1)
        if b"schema_version" not in data
        else re.sub(rb'"schema_version": ?\d', b'"schema_version":7', data)
    ),
}

IN_PLACE: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a loop": lambda path: path.symlink_to(path),
}


def run(folder: Path) -> None:
    shutil.copytree(RECORDED, folder)
    own = load_machine(folder).machine_id
    outcome = Outcome(status="failed", started_at="now")
    operators = OperatorPass(key=records.key(machine_id=own), settings_key="", outcome=outcome)
    (folder / "operators.jsonl").write_bytes(encode(operators) + b"\n")
    kernels = KernelTime(
        precision="fp32", tokens=16, width=8, threads=2, round=0, status="failed", machine_id=own, started_at="now"
    )
    (folder / "kernels.jsonl").write_bytes(encode(kernels) + b"\n")


@pytest.fixture
def artifact(models: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "empty" / "models" / "bert-tiny" / "fp32"
    folder.mkdir(parents=True)
    for file in (models / "bert-tiny" / "fp32").iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


def content(folder: Path) -> dict[str, bytes | None]:
    """Of all files below a folder; None of what is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in folder.rglob("*")
    }


def check(here: Command, folder: Path, file: str, *words: object) -> None:
    before = content(folder)
    ran = here(*words)
    assert ran.code in (1, 2), ran
    (message,) = ran.sentences
    assert file in message
    assert "does not know" not in message
    assert len(message) < 700
    assert content(folder) == before
    assert ran.out == ""


def damage(file: Path, name: str) -> None:
    data = file.read_bytes()
    file.unlink()  # a link to what others use
    if name in IN_PLACE:
        IN_PLACE[name](file)
    else:
        file.write_bytes(DAMAGES[name](data))
        assert file.read_bytes() != data


EVERY = [*DAMAGES, *IN_PLACE]
FINE = {
    ("operators.jsonl", "empty"),  # as before they are made
    ("kernels.jsonl", "empty"),
    ("operators.jsonl", "nothing"),  # a token length that is not known
}
OF_A_RUN = [
    (file, name)
    for file in ("machine.json", "measurements.jsonl", "operators.jsonl", "kernels.jsonl")
    for name in EVERY
    if (file, name) not in FINE
]


@pytest.mark.parametrize(("file", "name"), OF_A_RUN)
def test_a_damaged_run_is_neither_read_nor_changed(file: str, name: str, here: Command, tmp_path: Path) -> None:
    folder = tmp_path / "empty" / "reports" / "run"
    run(folder)
    damage(folder / file, name)
    is_seen = (file, name) != ("measurements.jsonl", "a loop")  # without measurements it is no run at all
    check(here, tmp_path / "empty", file if is_seen else "run", "report", "run")


@pytest.mark.parametrize("file", ["machine.json", "measurements.jsonl", "operators.jsonl", "kernels.jsonl"])
@pytest.mark.parametrize("name", ["cut off", "newer", "a pipe"])
def test_a_damaged_run_is_not_resumed(file: str, name: str, here: Command, artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty" / "reports" / "run"
    run(folder)
    if file != "machine.json":
        (folder / "machine.json").unlink()  # of another machine, which is refused for that
    damage(folder / file, name)
    check(here, tmp_path / "empty", file, "profile", artifact, "--seq", 4, "--name", "run")


@pytest.mark.parametrize("name", EVERY)
def test_a_damaged_artifact_is_refused(name: str, here: Command, artifact: Path) -> None:
    damage(artifact / "artifact.json", name)
    check(here, artifact, "artifact.json" if name != "a loop" else str(artifact), "verify", artifact)


@pytest.mark.parametrize("name", ["empty", "cut off", "binary", "an empty object", "nested", *IN_PLACE])
def test_damaged_reference_values_are_refused(name: str, here: Command, artifact: Path) -> None:
    damage(artifact / "reference.npz", name)
    check(here, artifact, "reference.npz", "verify", artifact)


OTHER_ARCHIVES = {
    "none": {},
    "other names": {"input_ids": np.zeros(3)},
    "no number": {"b1-t1-p0/in/input_ids": np.array(["word"]), "b1-t1-p0/out/last_hidden_state": np.zeros(1)},
    "newer": {"schema_version": np.array(7)},
    "no version": {"schema_version": np.array("many")},
    "no outputs": {"b1-t1-p0/in/input_ids": np.zeros((1, 1), np.int64)},
}


@pytest.mark.parametrize("name", OTHER_ARCHIVES)
def test_other_archives_are_no_reference_values(name: str, here: Command, artifact: Path) -> None:
    (artifact / "reference.npz").unlink()
    np.savez(artifact / "reference.npz", **OTHER_ARCHIVES[name])
    check(here, artifact, "", "verify", artifact)


CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("twice", "newer", "nothing")])
def test_a_damaged_config_is_refused(name: str, here: Command, tmp_path: Path) -> None:
    folder = tmp_path / "empty" / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_bytes(msgspec.json.format(json.dumps(CONFIG).encode()))
    damage(folder / "config.json", name)
    check(here, folder, "config.json" if name != "an empty object" else "checkpoint", "explain", "./checkpoint")
