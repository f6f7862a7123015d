"""Label Studio's own addresses: downloaded once, with the token; and what its error statuses mean."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from earmark.audio.source import LabelStudioAccess, SoundSource
from earmark.errors import LabelStudioError, SoundNotFoundError, SoundUnreachableError
from tests.audio.sound_server import (
    TOKEN,
    Server,
    access_to,
    assert_is_sound,
    settings_in,
    sound,
    status,
    with_token,
)

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.parametrize(
    ("address", "suffix"),
    [
        ("/data/upload/1/ab-clip.WAV", ".wav"),
        ("/data/upload/1/with%20space.flac", ".flac"),
        ("/data/local-files/?d=set/a%20b.mp3", ".mp3"),
        ("/tasks/3/resolve/?fileuri=czM6Ly9iL2E=", ""),
        ("/storage-data/uploaded/?filepath=upload/1/a.ogg", ".ogg"),
    ],
)
def test_label_studio_paths_are_fetched_once_with_the_token(
    server: Server, source: SoundSource, tmp_path: Path, address: str, suffix: str
) -> None:
    server.answers[address] = with_token(sound())
    located = source.locate(address, access_to(server))
    assert_is_sound(located)
    assert located.path.suffix == suffix
    assert source.locate(address, access_to(server)) == located
    assert SoundSource(settings_in(tmp_path)).locate(f"{server.url}{address}", access_to(server)) == located
    assert server.requests == [(address, TOKEN)]


def test_label_studio_below_a_path(server: Server, source: SoundSource) -> None:
    server.answers["/ls/data/upload/1/a.wav"] = with_token(sound())
    access = LabelStudioAccess(f"{server.url}/ls/", lambda: {"Authorization": TOKEN})
    for address in (
        "/data/upload/1/a.wav",
        "/ls/data/upload/1/a.wav",
        f"{server.url}/ls/data/upload/1/a.wav",
    ):
        assert_is_sound(source.locate(address, access))
    assert len(server.requests) == 1


def test_names_beyond_ascii(server: Server, source: SoundSource) -> None:
    for name in ("Vögel im Wald.wav", "鳥\u3000声.wav", "50%.wav"):
        spelled = quote(f"/data/upload/1/{name}", safe="/%")
        server.answers[spelled] = sound(name.encode())
        assert_is_sound(source.locate(f"/data/upload/1/{name}", access_to(server)), name.encode())


def test_without_a_known_label_studio(source: SoundSource) -> None:
    with pytest.raises(SoundUnreachableError, match="LABEL_STUDIO_URL"):
        source.locate("/data/upload/1/a.wav", None)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_names_the_setting(server: Server, source: SoundSource, code: int) -> None:
    server.answers["/data/upload/1/a.wav"] = status(code)
    with pytest.raises(SoundUnreachableError, match=r"LABEL_STUDIO_API_KEY.*upload would be HTTP 500.*404"):
        source.locate("/data/upload/1/a.wav", access_to(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("address", "code"), [("/data/upload/1/a.wav", 500), ("/data/local-files/?d=a.wav", 404)]
)
def test_what_label_studio_says_of_missing_files(
    server: Server, source: SoundSource, address: str, code: int
) -> None:
    server.answers[address] = status(code)
    with pytest.raises(SoundNotFoundError, match=f"HTTP {code}"):
        source.locate(address, access_to(server))
    assert len(server.requests) == 1, "a clear answer is not asked for again"


def test_a_token_that_cannot_be_had(server: Server, source: SoundSource) -> None:
    def headers() -> dict[str, str]:
        raise LabelStudioError("no token")

    with pytest.raises(LabelStudioError, match="no token"):
        source.locate("/data/upload/1/a.wav", LabelStudioAccess(server.url, headers))
    assert server.requests == []
