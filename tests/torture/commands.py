"""Commands that are started, killed, starved and raced; and how what they leave is looked at."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from edgeprof import store
from tests.command import command_line

HOWS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}

Running = subprocess.Popen[str]
Words = Sequence[object]


def export(at: Path) -> Words:
    return ("export", "bert-tiny", "--weights", "random", "--out", at / "models")


def quantize(at: Path) -> Words:
    return ("quantize", "bert-tiny", "--models", at / "models", "--recipe", "int8")


def profile(at: Path, seq: str = "4,8,16") -> Words:
    """Six visits of fp32, short ones."""
    quick = ("--rounds", 2, "--max-time", 0, "--runs", 2, "--min-time", 0.02, "--threads", 1, "--phase", "prefill")
    target = ("--models", at / "models", "--out", at / "reports", "--name", "run")
    return ("profile", "bert-tiny", "--precision", "fp32", "--seq", seq, *quick, *target)


VISITS = 6


def start(at: Path, words: Words, most_bytes: int | None = None) -> Running:
    """In a session of its own; `most_bytes` is the size beyond which no file may grow."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup switches off
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(at / "hub")}
    return subprocess.Popen(
        command_line(*words),
        cwd=at,
        env=environment,
        start_new_session=True,
        preexec_fn=limit,  # noqa: PLW1509
        **pipes,
    )


def whole(at: Path, words: Words) -> float:
    """Run a command to its end, which has to be a good one; how many seconds it took."""
    began = time.monotonic()
    running = start(at, words)
    _, message = running.communicate(timeout=600)
    assert running.returncode == 0, message
    return time.monotonic() - began


def killed(at: Path, words: Words, within_s: float) -> signal.Signals | None:
    """Kill a command at a random moment in a random way; the signal, or None where the command was faster.

    A SIGKILL goes to its children too, as that of the kernel or of a container does; others to the command alone.
    """
    running = start(at, words)
    how = random.choice(HOWS)
    time.sleep(random.uniform(0.05, within_s))
    family = []
    if running.poll() is None:
        family = psutil.Process(running.pid).children(recursive=True)
        (os.killpg if how == signal.SIGKILL else os.kill)(running.pid, how)
    _, message = running.communicate(timeout=120)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f"{how.name} left {alive}"
    assert "Traceback" not in message, message
    early = running.returncode == -how  # before it could say anything: the interpreter was still starting
    assert early or running.returncode in (0, CODES[how]), (how, running.returncode, message)
    return how if running.returncode else None


def faults_of(artifact: Path) -> list[str]:
    """What is wrong with an artifact, if it stands."""
    folders = store.artifact_folders(artifact.parent) if artifact.parent.is_dir() else []
    if artifact not in folders:
        return []
    record = store.load_artifact(artifact)
    model = Path(record.location)
    digests = (store.sha256_of(model), store.sha256_of_all([model.with_name(store.WEIGHTS_FILE)]))
    return [] if digests == (record.sha256, record.data_sha256) else [f"{artifact} is not what its record says"]


def litter(folder: Path, allowed: Sequence[str]) -> list[str]:
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [f"{folder / name} was left behind" for name in names if name not in allowed]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait_until(met: Callable[[], bool], limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)
