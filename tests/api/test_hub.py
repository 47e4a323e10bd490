"""Weights from the hub, where the hub is a socket on this machine."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import small
from conftest import Command


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def empty_hub() -> Iterator[str]:
    """Answers that it has nothing."""
    server = HTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ONLINE = {"HF_HUB_OFFLINE": "0"}


def test_a_hub_that_does_not_answer_means_random_weights_in_one_visible_line(
    silent_hub: str, edgeprof: Command
) -> None:
    done = edgeprof("export", "bert-tiny", HF_ENDPOINT=silent_hub, **ONLINE)
    assert done.code == 0
    notes = [line for line in done.out.splitlines() if "has random weights" in line]
    assert notes == [f"bert-tiny has random weights: The hub ({silent_hub}) did not answer within 5 s."]
    again = edgeprof("export", "bert-tiny", HF_ENDPOINT=silent_hub, **ONLINE)
    assert "up to date" in again.out and "random (seed 0) weights" in again.out


def test_asking_for_pretrained_weights_that_are_not_there_fails(
    silent_hub: str, empty_hub: str, edgeprof: Command
) -> None:
    for hub, reason in (
        (silent_hub, "did not answer within 5 s."),
        (empty_hub, "has no public google/bert_uncased_L-2_H-128_A-2."),
        ("http://127.0.0.1:9", "cannot be reached."),
    ):
        done = edgeprof("export", "bert-tiny", "--weights", "pretrained", HF_ENDPOINT=hub, **ONLINE)
        assert done.code == 1
        next_step = "Give a local folder, or --weights random."
        assert done.sentences == [f"edgeprof: The hub ({hub}) {reason} {next_step}"]


def test_a_repository_in_the_cache_needs_no_hub(edgeprof: Command, tmp_path: Path) -> None:
    repository = tmp_path / "cache" / "hub" / "models--owner--tiny"
    small.checkpoint(repository / "snapshots" / "0123abcd", "bert", "base")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    done = edgeprof("export", "owner/tiny", "--json", HF_HOME=str(tmp_path / "cache"))
    (exported,) = done.json
    assert exported["artifact"]["name"] == "tiny"
    assert exported["artifact"]["weights"].startswith("pretrained")
