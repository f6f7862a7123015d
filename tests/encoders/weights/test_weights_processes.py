"""CNN14's weights where there is no network, several processes, or a process that is killed."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import pytest

from earmark.encoders import network
from earmark.encoders.cnn14 import Cnn14Encoder
from earmark.encoders.network import FailureNote, why_unreachable
from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.resumable_download import Source, part_path
from earmark.errors import WeightsError
from earmark.settings import Settings
from tests.encoders.weights.zenodo import CONTENT, Server, Zenodo, closed_port, impatient, source_at, stalled

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
HALF = len(CONTENT) // 2
FETCH = """
import sys
from pathlib import Path
from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.resumable_download import Source
from earmark.settings import Settings
folder, url, size, sha256, name = sys.argv[1:]
settings = Settings(_env_file=None, data_dir=Path(folder))
say = lambda line: print(line, flush=True)
source = Source(url, int(size), sha256, name)
print("at", cnn14_weights.fetch_checkpoint(settings, source, say=say), flush=True)
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def zenodo() -> Iterator[Zenodo]:
    with Server() as server:
        yield server.zenodo
        server.zenodo.release.set()
        server.shutdown()


@contextmanager
def fetching(settings: Settings, source: Source) -> Iterator[subprocess.Popen[str]]:
    """Another process that fetches; its lines come on its standard output."""
    command = [sys.executable, "-c", FETCH, str(settings.data_dir), *map(str, astuple(source))]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read a process's lines up to the one with this text."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if text in line:
            return lines
    raise AssertionError(f"{text!r} was never said: {lines}")


# --- processes -----------------------------------------------------------------------------------


def test_two_processes_download_once(settings: Settings, zenodo: Zenodo) -> None:
    zenodo.script = [stalled(HALF)]
    with fetching(settings, zenodo.source) as first:
        lines_until(first, "cnn14.pth from 127.0.0.1")
        with fetching(settings, zenodo.source) as second:
            lines_until(second, "waiting for another process to bring cnn14.pth")
            zenodo.release.set()
            for process in (first, second):
                assert str(settings.data_dir) in lines_until(process, "at /")[-1]
                assert process.wait(30) == 0
    assert zenodo.ranges == [None]
    assert cnn14_weights.cache_path(settings, zenodo.source).read_bytes() == CONTENT


def test_a_killed_process_is_gone_on_with(settings: Settings, zenodo: Zenodo) -> None:
    zenodo.script = [stalled(HALF)]
    part = part_path(zenodo.source, cnn14_weights.cache_path(settings, zenodo.source))
    with fetching(settings, zenodo.source) as process:
        lines_until(process, "cnn14.pth from 127.0.0.1")
        deadline = time.monotonic() + 30
        while not (part.is_file() and part.stat().st_size > HALF // 2):
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
    came = part.stat().st_size
    path = cnn14_weights.fetch_checkpoint(settings, zenodo.source, patience=impatient())
    assert path.read_bytes() == CONTENT
    assert zenodo.ranges == [None, f"bytes={came}-"]


def test_importing_downloads_and_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import earmark.cli, earmark.encoders.weights.cnn14_installation, earmark.encoders.cnn14\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "backend"), "DATA_DIR": str(tmp_path / "data")}
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


# --- no network ----------------------------------------------------------------------------------


def test_a_port_where_nobody_listens(settings: Settings) -> None:
    source = source_at(closed_port())
    started = time.monotonic()
    with pytest.raises(WeightsError, match=r"no connection to 127\.0\.0\.1: Connection refused"):
        cnn14_weights.fetch_checkpoint(settings, source)
    assert time.monotonic() - started < 5


def test_a_name_server_that_never_answers_costs_a_moment_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, calls = threading.Event(), []

    def look_up(*arguments: object) -> list[object]:
        calls.append(arguments)
        never.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    source = source_at(1)
    patience = impatient(probe_seconds=0.1)
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(WeightsError, match=r"no connection to 127\.0\.0\.1 within 0\.1 s"):
            cnn14_weights.fetch_checkpoint(settings, source, patience=patience)
    assert len(calls) == 1, "remembered in this process"
    monkeypatch.setattr(network, "_in_process", {})
    with pytest.raises(WeightsError, match="s ago"):
        cnn14_weights.fetch_checkpoint(settings, source, patience=patience)
    assert len(calls) == 1, "and by the other processes of this data folder"
    with pytest.raises(WeightsError):
        cnn14_weights.fetch_checkpoint(settings, source, patience=patience, anew=True)
    assert len(calls) == 2, "a person who asks gets a real try"
    assert time.monotonic() - started < 5
    never.set()


def test_the_default_patience_is_under_five_seconds() -> None:
    assert cnn14_weights.PATIENCE.probe_seconds < 5


def test_the_next_process_knows_too(settings: Settings) -> None:
    source = source_at(closed_port())
    with pytest.raises(WeightsError):
        cnn14_weights.fetch_checkpoint(settings, source)
    with fetching(settings, source) as process:
        output = lines_until(process, "WeightsError: ")
    assert "s ago" in output[-1]
    assert not any("looking" in line for line in output)


@pytest.mark.parametrize(
    ("url", "age", "believed"),
    [("http://a", 5, True), ("http://a", 700, False), ("http://a", -60, False), ("http://b", 5, False)],
)
def test_a_failure_is_believed_for_a_while(tmp_path: Path, url: str, age: float, believed: bool) -> None:
    path = tmp_path / "note.json"
    path.write_text(json.dumps({"url": "http://a", "at": time.time() - age, "reason": "no cable"}))
    assert (FailureNote(path).recall(url) is not None) == believed


@pytest.mark.parametrize("content", ["", "[]", "{", '{"url": "u"}', '{"url": "u", "at": "x", "reason": 3}'])
def test_a_damaged_note_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "note.json").write_text(content)
    assert FailureNote(tmp_path / "note.json").recall("u") is None


def test_a_note_without_a_folder_lasts_in_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    note = FailureNote(tmp_path / "file" / "note.json")
    note.write("u", "no cable")
    assert "no cable" in (note.recall("u") or "")
    note.remove()
    assert note.recall("u") is None


@pytest.mark.parametrize(
    ("name", "value", "first_hop"),
    [
        ("https_proxy", "http://proxy.example:3128", ("proxy.example", 3128)),
        ("all_proxy", "proxy.example:99", ("proxy.example", 99)),
        ("http_proxy", "http://proxy.example:3128", ("zenodo.org", 443)),
    ],
)
def test_behind_a_proxy_the_proxy_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, first_hop: tuple[str, int]
) -> None:
    monkeypatch.setenv(name, value)
    calls: list[object] = []

    def connect(target: object, timeout: float) -> socket.socket:
        calls.append(target)
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    assert why_unreachable("https://zenodo.org/x", 1.0) is None
    assert calls == [first_hop]


# --- a checkpoint is data ------------------------------------------------------------------------


def test_a_bare_pickle_cannot_run_code(tmp_path: Path) -> None:
    marker, evil = tmp_path / "ran", tmp_path / "evil.pth"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (marker,)

    evil.write_bytes(pickle.dumps({"model": Payload()}, protocol=2))
    with pytest.raises(WeightsError, match="does not hold the weights of Cnn14"):
        Cnn14Encoder(evil)
    assert not marker.exists()
