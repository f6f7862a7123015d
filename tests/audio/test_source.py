"""Where sounds come from: addresses, tokens, damage on the way, and what is remembered."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backend.audio import downloads
from backend.audio.source import LabelStudioAccess, LocatedSound, SoundSource
from backend.errors import EarmarkError, LabelStudioError, SoundNotFoundError, SoundUnreachableError
from backend.settings import Settings

TOKEN = "Token 0123456789abcdef"
SOUND = b"RIFF" + bytes(range(256)) * 300
DIGEST = hashlib.sha256(SOUND).hexdigest()

Answer = Callable[["Handler"], None]


class Server(http.server.ThreadingHTTPServer):
    """A web server on a free port whose paths the test decides; it remembers every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str | None]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def tokens(self) -> list[str | None]:
        return [token for _, token in self.requests]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Authorization")))
        self.server.answers.get(self.path, status(404))(self)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def give(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def status(code: int, body: bytes = b"") -> Answer:
    return lambda handler: handler.give(code, body)


def sound(content: bytes = SOUND) -> Answer:
    return lambda handler: handler.give(200, content, Content_Type="audio/wav")


def with_token(answer: Answer) -> Answer:
    return lambda handler: (
        answer(handler) if handler.headers.get("Authorization") == TOKEN else handler.give(401)
    )


def redirect(to: str) -> Answer:
    return lambda handler: handler.give(302, Location=to)


def truncated(handler: Handler) -> None:
    handler.give(200, SOUND[:1000], Content_Length=str(len(SOUND)))


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)
    return lambda handler: left.pop(0)(handler)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "BACK_OFF_SECONDS", (0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def access_to(server: Server, token: str = TOKEN) -> LabelStudioAccess:
    return LabelStudioAccess(server.url, lambda: {"Authorization": token})


def settings_in(folder: Path, **values: object) -> Settings:
    return Settings(_env_file=None, data_dir=folder / "data", download_timeout_seconds=5, **values)  # type: ignore[call-arg, arg-type]


@pytest.fixture
def source(tmp_path: Path) -> SoundSource:
    return SoundSource(settings_in(tmp_path))


def assert_is_sound(found: LocatedSound, content: bytes = SOUND) -> None:
    assert found.digest == hashlib.sha256(content).hexdigest()
    assert found.path.read_bytes() == content


# --- Label Studio ------------------------------------------------------------------------------


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
    found = source.locate(address, access_to(server))
    assert_is_sound(found)
    assert found.path.suffix == suffix
    assert source.locate(address, access_to(server)) == found
    assert SoundSource(settings_in(tmp_path)).locate(f"{server.url}{address}", access_to(server)) == found
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


# --- the token stays at home -------------------------------------------------------------------


def test_another_origin_never_sees_the_token(server: Server, elsewhere: Server, source: SoundSource) -> None:
    elsewhere.answers["/data/upload/a.wav"] = sound()
    assert_is_sound(source.locate(f"{elsewhere.url}/data/upload/a.wav", access_to(server)))
    assert elsewhere.tokens == [None]


def test_not_across_redirects_either(server: Server, elsewhere: Server, source: SoundSource) -> None:
    server.answers["/data/upload/a.wav"] = redirect(f"{elsewhere.url}/b.wav")
    elsewhere.answers["/b.wav"] = redirect(f"{server.url}/c.wav")
    server.answers["/c.wav"] = with_token(sound())
    assert_is_sound(source.locate("/data/upload/a.wav", access_to(server)))
    assert elsewhere.tokens == [None]
    assert server.tokens == [TOKEN, TOKEN]


@pytest.mark.parametrize(
    "spelling", ["http://127.0.0.1:{port}@{other}/a.wav", "http://{other}\\@127.0.0.1:{port}/a.wav"]
)
def test_addresses_that_pretend(
    server: Server, elsewhere: Server, source: SoundSource, spelling: str
) -> None:
    other = elsewhere.url.removeprefix("http://")
    elsewhere.answers["/a.wav"] = sound()
    address = spelling.format(port=server.server_port, other=other)
    try:
        source.locate(address, access_to(server))
    except SoundNotFoundError:
        assert "\\" in address
    assert all(token is None or token.startswith("Basic ") for token in elsewhere.tokens)
    assert server.requests == []


def test_a_redirect_leads_nowhere_but_to_http(server: Server, source: SoundSource, tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(SOUND)
    server.answers["/a.wav"] = redirect(f"file://{tmp_path}/secret.wav")
    server.answers["/round.wav"] = redirect("/round.wav")
    with pytest.raises(SoundUnreachableError, match="file address"):
        source.locate(f"{server.url}/a.wav", None)
    with pytest.raises(SoundUnreachableError, match="in circles"):
        source.locate(f"{server.url}/round.wav", None)


def test_messages_hide_passwords_and_signatures(server: Server, source: SoundSource) -> None:
    address = f"http://user:secret1@127.0.0.1:{server.server_port}/a.wav?Signature=secret2"
    with pytest.raises(SoundNotFoundError) as caught:
        source.locate(address, None)
    assert "/a.wav" in str(caught.value)
    assert "secret" not in str(caught.value)


# --- trouble on the way ------------------------------------------------------------------------


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
    for asked in (3, 6):
        with pytest.raises(SoundUnreachableError, match="cannot be fetched"):
            source.locate(f"{server.url}/a.wav", None)
        assert len(server.requests) == asked
    assert not [
        path for path in (tmp_path / "data/sounds").rglob("*") if path.is_file() and path.suffix != ".lock"
    ]


def test_nobody_listens(source: SoundSource) -> None:
    with Server() as gone:
        url = gone.url
        gone.shutdown()
    with pytest.raises(SoundUnreachableError, match="reachable from here"):
        source.locate(f"{url}/a.wav", None)


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    enough = threading.Event()

    def silent(handler: Handler) -> None:
        enough.wait(20)

    server.answers["/a.wav"] = silent
    hurried = Settings(_env_file=None, data_dir=tmp_path, download_timeout_seconds=0.1)  # type: ignore[call-arg]
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


# --- what is kept ------------------------------------------------------------------------------


def test_threads_that_ask_at_once_fetch_once(server: Server, source: SoundSource) -> None:
    gate = threading.Barrier(8)
    found: list[LocatedSound] = []
    server.answers["/a.wav"] = sound()

    def ask() -> None:
        gate.wait()
        found.append(source.locate(f"{server.url}/a.wav", None))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert_is_sound(found[0])
    assert len(server.requests) == 1


def _ask(folder: str, url: str) -> tuple[str, str]:
    found = SoundSource(settings_in(Path(folder))).locate(url, None)
    return found.digest, hashlib.sha256(found.path.read_bytes()).hexdigest()


def test_processes_that_ask_at_once_get_a_good_file(server: Server, tmp_path: Path) -> None:
    server.answers["/a.wav"] = sound()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_ask, [(str(tmp_path), f"{server.url}/a.wav")] * 6, chunksize=1)
    assert found == [(DIGEST, DIGEST)] * 6
    assert len(server.requests) == 1


def test_the_least_recently_used_sounds_go(server: Server, tmp_path: Path) -> None:
    source = SoundSource(settings_in(tmp_path, sound_cache_megabytes=1))
    contents = {name: name.encode() * 300_000 for name in "abcd"}
    for name, content in contents.items():
        server.answers[f"/{name}.wav"] = sound(content)
    found = {name: source.locate(f"{server.url}/{name}.wav", None).path for name in "abc"}
    long_ago = time.time() - 3600
    for age, name in enumerate("cba"):
        os.utime(found[name], (long_ago - age, long_ago - age))
    source.locate(f"{server.url}/a.wav", None)  # used just now
    found["d"] = source.locate(f"{server.url}/d.wav", None).path
    assert {name for name in "abcd" if found[name].exists()} == {"a", "c", "d"}
    assert_is_sound(source.locate(f"{server.url}/b.wav", None), contents["b"])
    assert Counter(path for path, _ in server.requests)["/b.wav"] == 2


def test_what_a_killed_process_left_is_removed(server: Server, source: SoundSource, tmp_path: Path) -> None:
    incoming = tmp_path / "data/sounds/incoming"
    incoming.mkdir(parents=True)
    for name, age in (("old", 7200), ("new", 10)):
        (incoming / name).touch()
        os.utime(incoming / name, (time.time() - age,) * 2)
    server.answers["/a.wav"] = sound()
    source.locate(f"{server.url}/a.wav", None)
    assert [path.name for path in incoming.iterdir()] == ["new"]


def test_a_damaged_note_is_only_forgotten(server: Server, source: SoundSource, tmp_path: Path) -> None:
    server.answers["/a.wav"] = sound()
    source.locate(f"{server.url}/a.wav", None)
    for note in (tmp_path / "data/sounds/addresses").rglob("*.json"):
        note.write_bytes(b'{"digest": "..')
    assert_is_sound(source.locate(f"{server.url}/a.wav", None))
    assert len(server.requests) == 2


# --- files on this machine ---------------------------------------------------------------------


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
    found = source.locate(f"{prefix}{library}/set/{name}", None)
    assert_is_sound(found)
    assert found.path.parent == library / "set"


def test_local_content_is_hashed_again_only_when_it_changed(
    source: SoundSource, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = library / "set/a b.wav"
    first = source.locate(str(path), None)
    with monkeypatch.context() as patch:
        patch.setattr("backend.files.sha256_of", lambda path: pytest.fail("hashed again"))
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
    found = source.locate(f"{prefix}/data/local-files/?d=set/a%20b.wav", access_to(server))
    assert_is_sound(found)
    assert found.path == library / "set/a b.wav"
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
        ("s3://bucket/a.wav", "pre-signed"),
        ("file://server/share/a.wav", "another machine"),
        ("http://", "not a usable address"),
        ("http://[::1/a.wav", "not a usable address"),
        ("http://h:99999/a.wav", "not a usable address"),
        ("data:audio/wav;base64,AAAA", "neither a URL"),
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
@hypothesis_settings(max_examples=300, deadline=None)
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
                found = source.locate(spelled, None)
            except EarmarkError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert_is_sound(found)
