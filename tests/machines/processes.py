"""Real processes of several machines, each with a data folder of its own; sounds that can be held back."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.running import ALLOWED_IN_TESTS

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def machine(folder: Path, environment: dict[str, str], *command: str) -> Iterator[psutil.Process]:
    """``earmark COMMAND`` with ``folder`` as its data folder, ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "ENCODER": "logmel", "DATA_DIR": str(folder)}
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "earmark", *command],
            cwd=ROOT,
            env=ALLOWED_IN_TESTS | own | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                for member in [process, *process.children(recursive=True)]:
                    member.resume()
                process.terminate()
                process.wait(30)


class Sounds(http.server.ThreadingHTTPServer):
    """Hands out files of a folder; ``before`` is called with the name of each before it does."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: Callable[[str], object] = lambda _name: None
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Sounds:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Sounds

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.server.before(name)
        body = (self.server.folder / name).read_bytes()
        with contextlib.suppress(ConnectionError):  # the client may have left by now
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
