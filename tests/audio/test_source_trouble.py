"""Download failures: transient ones are retried, permanent ones are reported and leave no files."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from earmark.audio.source import SoundSource
from earmark.errors import SoundUnreachableError
from earmark.settings import Settings
from tests.audio.sound_server import (
    Answer,
    Handler,
    Server,
    assert_is_sound,
    in_turn,
    settings_in,
    sound,
    status,
    truncated,
)

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.parametrize("trouble", [truncated, status(500), status(503), status(429)])
def test_passing_trouble_is_tried_again(
    server: Server, source: SoundSource, tmp_path: Path, trouble: Answer
) -> None:
    server.answers["/a.wav"] = in_turn(trouble, trouble, sound())
    assert_is_sound(source.locate(f"{server.url}/a.wav", None))
    assert len(server.requests) == 3
    assert not list((tmp_path / "data/sounds/incoming").iterdir())


@pytest.mark.parametrize("trouble", [truncated, status(502)])
def test_lasting_trouble_keeps_nothing(
    server: Server, source: SoundSource, tmp_path: Path, trouble: Answer
) -> None:
    server.answers["/a.wav"] = trouble
    for requests in (3, 6):
        with pytest.raises(SoundUnreachableError, match="cannot be fetched"):
            source.locate(f"{server.url}/a.wav", None)
        assert len(server.requests) == requests
    assert not [
        path for path in (tmp_path / "data/sounds").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]


def test_nobody_listens(source: SoundSource) -> None:
    with Server() as stopped_server:
        url = stopped_server.url
        stopped_server.shutdown()
    with pytest.raises(SoundUnreachableError, match="reachable from here"):
        source.locate(f"{url}/a.wav", None)


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    enough = threading.Event()

    def silent(handler: Handler) -> None:
        enough.wait(20)

    server.answers["/a.wav"] = silent
    hurried = Settings(_env_file=None, data_dir=tmp_path, download_timeout_seconds=0.1)
    with pytest.raises(SoundUnreachableError, match="timed out"):
        SoundSource(hurried).locate(f"{server.url}/a.wav", None)
    enough.set()


@pytest.mark.parametrize("announced", [True, False])
def test_too_large(server: Server, tmp_path: Path, announced: bool) -> None:
    def large(handler: Handler) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", "2000000")
        handler.end_headers()
        if not announced:
            handler.wfile.write(bytes(2_000_000))

    server.answers["/a.wav"] = large
    with pytest.raises(SoundUnreachableError, match="MAX_SOUND_MEGABYTES"):
        SoundSource(settings_in(tmp_path, max_sound_megabytes=1)).locate(f"{server.url}/a.wav", None)
    assert not list((tmp_path / "data/sounds").rglob("*.wav"))


def test_a_login_page_is_no_sound(server: Server, source: SoundSource) -> None:
    server.answers["/a.wav"] = lambda handler: handler.give(
        200, b"<html>", Content_Type="text/html; charset=utf-8"
    )
    with pytest.raises(SoundUnreachableError, match="web page"):
        source.locate(f"{server.url}/a.wav", None)


def test_other_servers_refusal_does_not_blame_our_key(elsewhere: Server, source: SoundSource) -> None:
    elsewhere.answers["/a.wav"] = status(403)
    with pytest.raises(SoundUnreachableError) as caught:
        source.locate(f"{elsewhere.url}/a.wav", None)
    assert "LABEL_STUDIO_API_KEY" not in str(caught.value)
