"""Stand-ins for the hub, on this machine: one that serves a folder, one that refuses, one that never answers."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0ffee" * 6 + "c0ff"


@contextlib.contextmanager
def serving(repository: str, folder: Path, token: str = "", asked: list[str] | None = None) -> Iterator[str]:
    """The address of a hub that holds one repository, for those who show the token if it has one.

    `asked` receives the path of every request.
    """
    api = f"/api/models/{repository}"
    info = {
        "id": repository,
        "sha": COMMIT,
        "private": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": file.name} for file in folder.iterdir()],
    }

    tree = [
        {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name} for file in folder.iterdir()
    ]

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            if asked is not None:
                asked.append(path)
            file = folder / path.rpartition("/")[2]
            if token and self.headers["Authorization"] != f"Bearer {token}":
                self.send_error(401)
                return
            if path == api or path.startswith(f"{api}/revision/"):
                body = json.dumps(info).encode()
            elif path.startswith(f"{api}/tree/"):
                body = json.dumps(tree).encode()
            elif path.startswith(f"/{repository}/resolve/") and file.is_file():
                body = file.read_bytes()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{file.name}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def silent_hub() -> Iterator[str]:
    """The address of a hub that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def nobody() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"
