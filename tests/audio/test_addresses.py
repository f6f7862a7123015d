"""Redaction of sound addresses for messages, logs and the database."""

from __future__ import annotations

import pytest

from earmark.audio.addresses import file_name, shown
from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFoundError, SoundUnreadableError
from earmark.services import Services
from earmark.store.sound_errors import latest_faults, remember_fault


@pytest.mark.parametrize(
    ("address", "spelled"),
    [
        ("https://b.example/a.wav?X-Signature=s3cret", "https://b.example/a.wav"),
        ("https://me:s3cret@b.example:8080/a.wav#s3cret", "https://b.example:8080/a.wav"),
        ("https://me:s3c/ret@b.example/a.wav", "https://…"),
        ("http://[s3cret", "http://…"),
        ("http://[::1]:8080/a.wav?s3cret", "http://[::1]:8080/a.wav"),
        ("http://ls/data/local-files/?d=owls/a.wav", "http://ls/data/local-files/?d=owls/a.wav"),
        ("/data/upload/1/a.wav?token=s3cret", "/data/upload/1/a.wav"),
        ("/data/local-files/?d=owls/a.wav", "/data/local-files/?d=owls/a.wav"),
        ("/home/me/what?.wav", "/home/me/what?.wav"),
        ("/night/12:30@pond.wav", "/night/12:30@pond.wav"),
        ("//me:s3cr@et@b.example/a.wav?s3cret", "//b.example/a.wav"),
        ("http:/\\me:s3cret@b.example/a", "http:/\\b.example/a"),
        ("/me@home.wav", "/me@home.wav"),
        ("", ""),
    ],
)
def test_secrets_of_an_address_are_not_shown(address: str, spelled: str) -> None:
    assert shown(address) == spelled
    assert shown(spelled) == spelled


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://b.example/night/a%20b.wav?X-Signature=s3cret", "a b.wav"),
        ("https://me:s3cret@b.example/a.wav#s3cret", "a.wav"),
        ("https://me:s3c/ret@b.example/a.wav", "…"),
        ("/data/local-files/?d=owls/a%20b.wav", "a b.wav"),
        ("http://ls/data/local-files/?x=1&d=a.wav", "a.wav"),
        ("/data/upload/1/0a1b2c3d-a.wav?token=s3cret", "0a1b2c3d-a.wav"),
        ("/srv/owls/a.wav", "a.wav"),
        ("data:audio/wav;base64,c2Vj/cmV0", shown("data:audio/wav;base64,c2Vj/cmV0")),
        ("http://[s3cret", "…"),
        ("", ""),
    ],
)
def test_the_file_name_in_an_address(address: str, name: str) -> None:
    assert file_name(address) == name


@pytest.mark.parametrize(
    "address", ["https://me:s3cret@/a.wav?s3cret", "s3://me:s3cret@b/a?s3cret", "https://u:s3cret@[/?s3cret"]
)
def test_errors_and_faults_hold_no_secret(source: SoundSource, services: Services, address: str) -> None:
    with pytest.raises(SoundNotFoundError) as caught:
        source.locate(address, None)
    assert "s3cret" not in str(caught.value)
    with services.database.write() as session:
        remember_fault(session, address, caught.value)
        remember_fault(session, f"{address}2", SoundUnreadableError("no sound"))
        (fault,) = latest_faults(session, 5)
    assert "s3cret" not in fault.address
    assert fault.reason == "unreadable", "the signature of an address is no part of it"
