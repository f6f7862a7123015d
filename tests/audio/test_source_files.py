"""Local files: read in place, and no path traversal out of the allowed folders."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.source import SoundSource
from earmark.errors import EarmarkError, SoundNotFoundError
from tests.audio.sound_server import SOUND, Server, access_to, assert_is_sound, settings_in, sound, with_token
from tests.examples import with_examples

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "set").mkdir(parents=True)
    for name in ("a b.wav", "50%25.wav", "ü.wav"):
        (folder / "set" / name).write_bytes(SOUND)
    (tmp_path / "secret.wav").write_bytes(b"secret")
    return folder


@pytest.mark.parametrize("name", ["a b.wav", "a%20b.wav", "50%25.wav", "ü.wav", "%C3%BC.wav"])
@pytest.mark.parametrize("prefix", ["", "file://", "file://localhost"])
def test_paths_and_file_urls(source: SoundSource, library: Path, prefix: str, name: str) -> None:
    located = source.locate(f"{prefix}{library}/set/{name}", None)
    assert_is_sound(located)
    assert located.path.parent == library / "set"


def test_local_content_is_hashed_again_only_when_it_changed(
    source: SoundSource, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library / "set/a b.wav"
    first = source.locate(str(path), None)
    with monkeypatch.context() as patch:
        patch.setattr("earmark.storage.atomic_files.sha256_of", lambda path: pytest.fail("hashed again"))
        assert source.locate(str(path), None) == first
    path.write_bytes(SOUND + b"more")
    assert_is_sound(source.locate(str(path), None), SOUND + b"more")


def test_audio_roots_hold(tmp_path: Path, library: Path) -> None:
    (library / "link.wav").symlink_to(tmp_path / "secret.wav")
    source = SoundSource(settings_in(tmp_path, audio_roots=(tmp_path / "other", library)))
    assert_is_sound(source.locate(f"{library}/set/a%20b.wav", None))
    for name in ("../secret.wav", "%2e%2e/secret.wav", "link.wav", "set/../../secret.wav", "../absent.wav"):
        for prefix in ("", "file://"):
            with pytest.raises(SoundNotFoundError, match=r"AUDIO_ROOTS|no file"):
                source.locate(f"{prefix}{library}/{name}", None)
    with pytest.raises(SoundNotFoundError, match="AUDIO_ROOTS"):
        source.locate(str(tmp_path / "secret.wav"), None)


@pytest.mark.parametrize("name", ["", "/set", "/absent.wav", "/" + "x" * 300, "/set/a b.wav/more"])
def test_what_is_no_regular_file(source: SoundSource, library: Path, name: str) -> None:
    with pytest.raises(SoundNotFoundError):
        source.locate(f"{library}{name}", None)


def test_a_pipe_is_no_sound(source: SoundSource, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SoundNotFoundError):
        source.locate(str(tmp_path / "pipe.wav"), None)


@pytest.mark.parametrize("absolute", [False, True])
def test_local_files_are_read_in_place(server: Server, tmp_path: Path, library: Path, absolute: bool) -> None:
    source = SoundSource(settings_in(tmp_path, label_studio_local_files_document_root=library))
    prefix = server.url if absolute else ""
    located = source.locate(f"{prefix}/data/local-files/?d=set/a%20b.wav", access_to(server))
    assert_is_sound(located)
    assert located.path == library / "set/a b.wav"
    assert server.requests == []


def test_local_files_that_are_not_here_are_fetched(server: Server, tmp_path: Path, library: Path) -> None:
    """So are those behind a link that leaves the root: Label Studio decides about them."""
    (library / "link.wav").symlink_to(tmp_path / "secret.wav")
    source = SoundSource(settings_in(tmp_path, label_studio_local_files_document_root=library))
    for name in ("absent.wav", "link.wav"):
        server.answers[f"/data/local-files/?d={name}"] = with_token(sound())
        assert_is_sound(source.locate(f"/data/local-files/?d={name}", access_to(server)))
    assert len(server.requests) == 2


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize(
    "address",
    [
        "/data/local-files/?d=../secret.wav",
        "/data/local-files/?d=%2e%2e%2fsecret.wav",
        "/data/local-files/?d=set/../../secret.wav",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/?d=..%5Csecret.wav",
        "/data/local-files/?d=a%00.wav",
        "/data/local-files/?d=",
        "/data/upload/../../secret.wav",
        "/data/upload/%2e%2e/%2e%2e/%2e%2e/secret.wav",
    ],
)
def test_no_way_out_of_the_root(
    server: Server, tmp_path: Path, library: Path, address: str, root: bool
) -> None:
    chosen = {"label_studio_local_files_document_root": library} if root else {}
    source = SoundSource(settings_in(tmp_path, **chosen))
    for spelled in (address, server.url + address):
        with pytest.raises(SoundNotFoundError):
            source.locate(spelled, access_to(server))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "not the address"),
        ("   ", "not the address"),
        ("a.wav", "neither a URL nor an absolute path"),
        ("/tmp/a\0.wav", "not the address"),
        ("http://h/\r\nX: y", "not the address"),
        ("\ud800.wav", "not the address"),
        ("ftp://server/a.wav", "cannot be read"),
        ("file://server/share/a.wav", "another machine"),
        ("http://", "not a usable address"),
        ("http://[::1/a.wav", "not a usable address"),
        ("http://h:99999/a.wav", "not a usable address"),
        ("data:audio/wav;base64,A!", "not in base64"),
        ("data:audio/wav", "holds no data"),
    ],
)
def test_what_is_no_address(source: SoundSource, address: str, says: str) -> None:
    with pytest.raises(SoundNotFoundError, match=says) as caught:
        source.locate(address, None)
    assert "\n" not in str(caught.value)


_pieces = st.sampled_from(
    ["/", "..", ".", "%2e", "%2F", "%5c", "\\", "secret.wav", "set", "data/upload/", "/data/local-files/?d=", "file://",
     "localhost", "?", "&d=", "#", " ", "%00", "%", "//", "@", ":", "~", "é", "://", "\u3000"]
)  # fmt: skip


@given(st.one_of(st.lists(_pieces, max_size=12).map("".join), st.text(max_size=60)))
@with_examples(300)
def test_no_address_reaches_outside_its_roots(address: str) -> None:
    """Whatever a task holds: a file inside the roots, or one of our errors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "library/set").mkdir(parents=True)
        (folder / "library/set/secret.wav").write_bytes(SOUND)
        (folder / "secret.wav").write_bytes(b"secret")
        source = SoundSource(
            settings_in(
                folder,
                audio_roots=(folder / "library",),
                label_studio_local_files_document_root=folder / "library",
            )
        )
        for spelled in (address, f"{folder}/library/{address}", f"/data/local-files/?d={address}"):
            if unquote(spelled).lstrip().lower().startswith("http"):
                continue  # this test needs no network
            try:
                located = source.locate(spelled, None)
            except EarmarkError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert_is_sound(located)
