"""The token is sent to its own server only, and no message contains a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFoundError, SoundUnreachableError
from tests.audio.sound_server import (
    SOUND,
    TOKEN,
    Server,
    access_to,
    assert_is_sound,
    redirect,
    sound,
    with_token,
)

pytestmark = pytest.mark.usefixtures("hasty")


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
