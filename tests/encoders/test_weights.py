"""CNN14's weights: found, fetched once, verified; and which encoder follows from that."""

from __future__ import annotations

import hashlib
import http.server
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backend.encoders as encoders
from backend.encoders import encoder_identity, get_encoder, weights
from backend.encoders.logmel import LogmelEncoder
from backend.errors import WeightsError
from backend.settings import Settings

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
IDENTITY = f"cnn14-{SHA256[:12]}"


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, or in turn what ``bodies`` holds first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.asked = 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        body = self.server.bodies.pop(0) if self.server.bodies else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""


class StandIn:
    """In the place of Cnn14Encoder, whose weights no test can have."""

    name = "cnn14"
    built = 0

    def __init__(self, checkpoint: Path, *, threads: int = 0, digest: str | None = None) -> None:
        type(self).built += 1
        self.checkpoint, self.threads = checkpoint, threads
        self.identity = weights.identity_of(digest or "")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as running:
        monkeypatch.setattr(
            weights, "CNN14_URL", f"http://127.0.0.1:{running.server_port}/cnn14.pth?download=1"
        )
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has decided nothing yet, small weights, and no way to the real ones."""
    monkeypatch.setattr(weights, "CNN14_BYTES", len(CONTENT))
    monkeypatch.setattr(weights, "CNN14_SHA256", SHA256)
    monkeypatch.setattr(weights, "_failures", {})
    monkeypatch.setattr(encoders, "_encoders", {})
    monkeypatch.setattr("backend.encoders.cnn14.Cnn14Encoder", StandIn)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # pooch pauses between its tries
    StandIn.built = 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(weights, "CNN14_URL", f"http://127.0.0.1:{port}/cnn14.pth?download=1")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def settings_in(folder: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **values)  # type: ignore[call-arg]


def bring(settings: Settings, content: bytes = CONTENT) -> Path:
    path = weights.cache_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_nothing_here(tmp_path: Path) -> None:
    assert weights.find_checkpoint(settings_in(tmp_path)) is None


def test_a_file_brought_by_hand_is_found(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    path = bring(settings)
    assert weights.find_checkpoint(settings) == path
    assert weights.fetch_checkpoint(settings) == weights.cache_path(settings)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, server: Server, content: bytes) -> None:
    settings = settings_in(tmp_path)
    bring(settings, content)
    assert weights.find_checkpoint(settings) is None
    assert weights.cheap_digest(settings) is None
    assert weights.fetch_checkpoint(settings).read_bytes() == CONTENT
    assert server.asked == 1


def test_it_is_fetched_once_and_verified(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_in(tmp_path)
    for _ in range(2):
        assert weights.fetch_checkpoint(settings).read_bytes() == CONTENT
    assert server.asked == 1
    assert "Download" not in capfd.readouterr().err


@pytest.mark.parametrize("bad", [b"x" * len(CONTENT), CONTENT[:500]])
def test_a_wrong_or_truncated_answer_is_tried_again(tmp_path: Path, server: Server, bad: bytes) -> None:
    server.bodies = [bad, bad]
    assert weights.fetch_checkpoint(settings_in(tmp_path)).read_bytes() == CONTENT
    assert server.asked == 3


@pytest.mark.parametrize("bad", [b"x" * len(CONTENT), CONTENT[:500]])
def test_a_file_that_failed_is_never_kept(tmp_path: Path, server: Server, bad: bytes) -> None:
    server.bodies = [bad] * 9
    settings = settings_in(tmp_path)
    with pytest.raises(WeightsError) as caught:
        weights.fetch_checkpoint(settings)
    assert str(weights.cache_path(settings)) in str(caught.value)
    assert "ENCODER=logmel" in str(caught.value)
    assert [path for path in weights.cache_path(settings).parent.iterdir() if path.suffix != ".lock"] == []
    assert server.asked == 3
    with pytest.raises(WeightsError):
        weights.fetch_checkpoint(settings)
    assert server.asked == 3, "a failure is remembered"
    bring(settings)
    assert weights.fetch_checkpoint(settings) == weights.cache_path(settings)


def test_no_network_is_known_soon(tmp_path: Path) -> None:
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(WeightsError, match="no connection to 127"):
            weights.fetch_checkpoint(settings_in(tmp_path))
    assert time.monotonic() - started < 5


def test_a_name_server_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    asked: list[object] = []

    def lookup(target: object, timeout: float) -> socket.socket:
        asked.append(target)
        never.wait(30)
        raise OSError

    monkeypatch.setattr(weights.socket, "create_connection", lookup)
    monkeypatch.setattr(weights, "PROBE_SECONDS", 0.05)
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(WeightsError, match="no connection"):
            weights.fetch_checkpoint(settings_in(tmp_path))
    assert time.monotonic() - started < 5
    assert len(asked) == 1
    never.set()


def test_behind_a_proxy_the_proxy_is_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    asked: list[object] = []

    def connect(target: object, timeout: float) -> socket.socket:
        asked.append(target)
        return socket.socket()

    monkeypatch.setattr(weights.socket, "create_connection", connect)
    assert weights._reachable("https://zenodo.org/x")
    assert asked == [("proxy.example", 3128)]


def _fetch(folder: str, url: str) -> str:
    weights.CNN14_URL = url
    return weights.fetch_checkpoint(settings_in(Path(folder))).read_bytes().hex()


def test_processes_download_once(tmp_path: Path, server: Server) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_fetch, [(str(tmp_path), weights.CNN14_URL)] * 3, chunksize=1)
    assert found == [CONTENT.hex()] * 3
    assert server.asked == 1


def test_a_checkpoint_of_ones_own_is_taken_as_it_is(tmp_path: Path, server: Server) -> None:
    own = tmp_path / "mine.pth"
    settings = settings_in(tmp_path, cnn14_checkpoint=own)
    with pytest.raises(WeightsError, match="CNN14_CHECKPOINT"):
        weights.fetch_checkpoint(settings)
    own.write_bytes(b"tuned")
    assert weights.fetch_checkpoint(settings) == own
    assert server.asked == 0


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mine.pth"
    own.write_bytes(b"tuned")
    settings = settings_in(tmp_path, cnn14_checkpoint=own, encoder="cnn14")
    first = encoder_identity(settings)
    assert first == f"cnn14-{hashlib.sha256(b'tuned').hexdigest()[:12]}"
    with monkeypatch.context() as patch:
        patch.setattr("backend.files.sha256_of", lambda path: pytest.fail("hashed again"))
        assert encoder_identity(settings) == first
    own.write_bytes(b"other")
    os.utime(own, (1, 1))
    assert encoder_identity(settings) != first


# --- which encoder -----------------------------------------------------------------------------


def test_auto_takes_cnn14_where_it_can_be_had(tmp_path: Path, server: Server) -> None:
    settings = settings_in(tmp_path, torch_threads=3)
    encoder = get_encoder(settings)
    assert isinstance(encoder, StandIn)
    assert (encoder.identity, encoder.threads) == (IDENTITY, 3)
    assert get_encoder(settings_in(tmp_path, torch_threads=3)) is encoder
    assert encoder_identity(settings) == IDENTITY


def test_auto_falls_back_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_in(tmp_path)
    encoder = get_encoder(settings)
    assert isinstance(encoder, LogmelEncoder)
    assert "encoder_fallback" in "".join(capsys.readouterr())
    assert encoder_identity(settings) == encoder.identity
    bring(settings)
    assert get_encoder(settings) is encoder, "a decision holds until the process ends"
    assert encoder_identity(settings) == encoder.identity


def test_cnn14_never_falls_back(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        get_encoder(settings_in(tmp_path, encoder="cnn14"))
    assert not (tmp_path / "encoder.json").exists()


def test_logmel_asks_nobody(tmp_path: Path, server: Server) -> None:
    assert isinstance(get_encoder(settings_in(tmp_path, encoder="logmel")), LogmelEncoder)
    assert server.asked == 0


def test_threads_get_the_same_encoder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, encoder="cnn14")
    bring(settings)
    gate = threading.Barrier(8)
    found: list[object] = []

    def ask() -> None:
        gate.wait()
        found.append(get_encoder(settings))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(encoder) for encoder in found}) == 1
    assert StandIn.built == 1


@pytest.mark.parametrize(
    ("encoder", "here", "decided", "expected"),
    [
        ("logmel", True, None, LogmelEncoder.IDENTITY),
        ("cnn14", True, None, IDENTITY),
        ("cnn14", False, None, IDENTITY),
        ("auto", True, None, IDENTITY),
        ("auto", True, LogmelEncoder.IDENTITY, IDENTITY),
        ("auto", False, None, LogmelEncoder.IDENTITY),
        ("auto", False, IDENTITY, IDENTITY),
        ("auto", False, LogmelEncoder.IDENTITY, LogmelEncoder.IDENTITY),
    ],
)
def test_identity_without_loading(
    tmp_path: Path, server: Server, encoder: str, here: bool, decided: str | None, expected: str
) -> None:
    settings = settings_in(tmp_path, encoder=encoder)
    if here:
        bring(settings)
    if decided:
        (tmp_path / "encoder.json").write_text(json.dumps({"identity": decided}))
    assert encoder_identity(settings) == expected
    assert StandIn.built == server.asked == 0


@pytest.mark.parametrize("content", ["", "[]", '{"identity": 3}', "{"])
def test_a_damaged_decision_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "encoder.json").write_text(content)
    assert encoder_identity(settings_in(tmp_path)) == LogmelEncoder.IDENTITY


def test_the_decision_outlives_the_process(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    get_encoder(settings)
    weights.cache_path(settings).unlink()
    monkeypatch.setattr(encoders, "_encoders", {})
    assert encoder_identity(settings) == IDENTITY


def test_logmel_really_encodes(tmp_path: Path) -> None:
    encoder = get_encoder(settings_in(tmp_path, encoder="logmel"))
    frames = encoder.frames([np.zeros(encoder.sample_rate, np.float32)])
    assert frames.shape[1] == encoder.frame_dim
