"""Both kinds of token, against a server that treats them as Label Studio does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from earmark.errors import LabelStudioError
from earmark.labelstudio.credentials import AccessBook, Credentials, is_personal_access_token
from earmark.settings import Settings
from earmark.storage.token_cipher import TokenCipher
from earmark.store.models import Project

PERSONAL = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl"
LEGACY = "7f1d09d0f3b6a2a3c1e5b0f7c2d8e9a001122334"


class _TokenServer(ThreadingHTTPServer):
    exchanges = 0


class _Handler(BaseHTTPRequestHandler):
    server: _TokenServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = self.path == "/api/token/refresh/" and body == {"refresh": PERSONAL}
        self.server.exchanges += good
        answer = json.dumps({"access": f"access-{self.server.exchanges}"}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


@pytest.fixture
def label_studio() -> Iterator[tuple[str, _TokenServer]]:
    server = _TokenServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", server
    server.shutdown()
    thread.join()
    server.server_close()


def test_kinds_are_told_apart() -> None:
    assert is_personal_access_token(PERSONAL)
    assert not is_personal_access_token(LEGACY)


def test_a_legacy_token_is_sent_as_it_is() -> None:
    assert Credentials("http://nowhere", LEGACY).headers() == {"Authorization": f"Token {LEGACY}"}


def test_a_personal_access_token_is_exchanged_once(label_studio: tuple[str, _TokenServer]) -> None:
    url, server = label_studio
    credentials = Credentials(url, PERSONAL)
    assert [credentials.headers() for _ in range(3)] == [{"Authorization": "Bearer access-1"}] * 3
    assert server.exchanges == 1


def test_a_refused_token_says_what_to_do(label_studio: tuple[str, _TokenServer]) -> None:
    with pytest.raises(LabelStudioError, match="make a new one under Account"):
        Credentials(label_studio[0], PERSONAL + "x").headers()


def test_an_unreachable_label_studio_says_what_to_check() -> None:
    with pytest.raises(LabelStudioError, match="check LABEL_STUDIO_URL"):
        Credentials("http://127.0.0.1:9", PERSONAL).headers()


def test_the_configured_key_never_goes_to_an_address_that_somebody_sent(settings: Settings) -> None:
    sent = Project(key="1.1", hostname="http://evil:1", access_token="theirs")
    only_key = settings.model_copy(update={"label_studio_api_key": None})
    access = AccessBook(only_key).for_project(sent)
    assert access is not None
    assert (access.url, access.headers()) == ("http://evil:1", {"Authorization": "Token theirs"})

    both = Settings(
        _env_file=None,
        data_dir=settings.data_dir,
        label_studio_url="http://ours:8080/",
        label_studio_api_key=LEGACY,
    )
    access = AccessBook(both).for_project(sent)
    assert access is not None
    assert (access.url, access.headers()) == ("http://ours:8080", {"Authorization": f"Token {LEGACY}"})
    key_alone = both.model_copy(update={"label_studio_url": None})
    access = AccessBook(key_alone).for_project(sent)
    assert access is not None
    assert LEGACY not in str(access.headers())
    assert AccessBook(key_alone).for_project(None) is None


def test_a_login_for_task_data_belongs_to_its_project(settings: Settings) -> None:
    configured = settings.model_copy(update={"label_studio_url": "http://ls:8080"})
    login = TokenCipher(configured).encrypt('["reader", "secret"]')
    access = AccessBook(configured).for_project(Project(key="7.1", data_login=login))
    other = AccessBook(configured).for_project(Project(key="8.1", data_login=""))
    assert access is not None
    assert other is not None
    assert (access.project_number, access.data_login) == (7, ("reader", "secret"))
    assert (other.project_number, other.data_login) == (8, None)
