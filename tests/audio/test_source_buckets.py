"""Sounds in buckets, in ``data:`` URIs, and behind a login."""

from __future__ import annotations

import base64
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from earmark.audio import allowed_hosts, bucket_objects
from earmark.audio.bucket_objects import object_pieces
from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFetchedError, SoundNotFoundError, SoundTooSlowError, SoundUnreachableError
from earmark.storage.object_storage import BUCKETS
from tests.audio.sound_server import (
    SOUND,
    TOKEN,
    Server,
    access_to,
    assert_is_sound,
    redirect,
    settings_in,
    sound,
    status,
    with_token,
)
from tests.buckets import Bucket, bucket, silent_bucket

__all__ = ["bucket", "silent_bucket"]

ADDRESS = "s3://calls/day 1/a+b.wav"
RESOLVED = "/projects/7/resolve/?fileuri=" + base64.urlsafe_b64encode(ADDRESS.encode()).decode()

pytestmark = pytest.mark.usefixtures("hasty")


def test_an_object_is_read_once(bucket: type[Bucket], source: SoundSource) -> None:
    bucket.objects["day 1/a+b.wav"] = SOUND
    with pytest.raises(SoundNotFetchedError):
        source.locate(ADDRESS, None, fetch=False)
    located = source.locate(ADDRESS, None)
    assert_is_sound(located)
    assert located.path.suffix == ".wav"
    bucket.objects.clear()
    assert source.locate(ADDRESS, None, fetch=False) == located


def test_a_missing_object_is_not_found(bucket: type[Bucket], source: SoundSource) -> None:
    with pytest.raises(SoundNotFoundError, match="There is no s3://calls/gone"):
        source.locate("s3://calls/gone.wav", None)
    with pytest.raises((SoundNotFoundError, SoundUnreachableError)):
        source.locate("s3://other/a.wav", None)


@pytest.mark.usefixtures("bucket")
def test_a_storage_in_label_studio_is_asked_for_what_cannot_be_read(
    server: Server, source: SoundSource
) -> None:
    server.answers[RESOLVED] = with_token(redirect("/signed.wav"))
    server.answers["/signed.wav"] = sound()
    access = replace(access_to(server), project_number=7)
    located = source.locate(ADDRESS, access)
    assert_is_sound(located)
    assert source.locate(ADDRESS, None, fetch=False) == located


@pytest.mark.usefixtures("bucket")
def test_what_neither_can_read_names_both_reasons(server: Server, source: SoundSource) -> None:
    server.answers[RESOLVED] = status(404)
    with pytest.raises(SoundUnreachableError, match=r"There is no s3.*HTTP 404"):
        source.locate(ADDRESS, replace(access_to(server), project_number=7))


def test_a_missing_library_is_no_obstacle_where_label_studio_has_the_storage(
    server: Server, source: SoundSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "azure-blob://calls/a.wav"
    resolve = "/projects/7/resolve/?fileuri=" + base64.urlsafe_b64encode(address.encode()).decode()
    server.answers[resolve] = with_token(sound())
    monkeypatch.setattr("earmark.extras.is_installed", lambda module: False)
    assert_is_sound(source.locate(address, replace(access_to(server), project_number=7)))


def test_a_slow_bucket_is_given_up(bucket: type[Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.objects["a.wav"] = bytes(3 << 20)
    now = iter(range(0, 1000, 60))
    monkeypatch.setattr(bucket_objects, "monotonic", lambda: float(next(now)))
    with pytest.raises(SoundTooSlowError):
        list(object_pieces("s3://calls/a.wav", seconds=30, least_bytes_per_second=1e6))


@pytest.mark.slow
@pytest.mark.usefixtures("silent_bucket")
@pytest.mark.parametrize("scheme", sorted(BUCKETS))
def test_a_bucket_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    pytest.importorskip(
        BUCKETS[scheme], reason=f"{BUCKETS[scheme]}, which reads {scheme}://, is not installed"
    )
    started = time.monotonic()
    with pytest.raises(SoundTooSlowError, match=f"{scheme}://calls/a.wav"):
        list(object_pieces(f"{scheme}://calls/a.wav", seconds=1.5, least_bytes_per_second=1e3))
    assert time.monotonic() - started < 10


def test_a_large_object_arrives_in_pieces(bucket: type[Bucket]) -> None:
    bucket.objects["a.wav"] = random.Random(1).randbytes(5_000_001)
    pieces = list(object_pieces("s3://calls/a.wav", seconds=30, least_bytes_per_second=1e3))
    assert b"".join(pieces) == bucket.objects["a.wav"]
    assert len(pieces) > 2


def test_a_sound_in_the_task_itself(source: SoundSource) -> None:
    address = "data:audio/x-wav;base64," + base64.b64encode(SOUND).decode()
    located = source.locate(address, None, fetch=False)
    assert_is_sound(located)
    assert located.path.suffix == ".wav"
    assert source.locate(address, None) == located


def test_messages_hold_no_sound(source: SoundSource) -> None:
    with pytest.raises(SoundNotFoundError) as caught:
        source.locate("data:audio/wav;base64,!" + "A" * 10_000, None)
    assert len(str(caught.value)) < 200


def test_a_sound_in_the_task_has_a_size_limit(tmp_path: Path) -> None:
    source = SoundSource(settings_in(tmp_path, max_sound_megabytes=1))
    with pytest.raises(SoundUnreachableError, match="larger than 1 MB"):
        source.locate("data:audio/wav," + "x" * 1_000_001, None)


@pytest.mark.parametrize("named", [True, False])
def test_a_login_goes_to_hosts_that_are_named_alone(
    server: Server, elsewhere: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    hosts = ["localhost"] if named else []
    source = SoundSource(settings_in(tmp_path, allowed_sound_hosts=hosts))
    monkeypatch.setattr(allowed_hosts.SoundHosts, "_check_address", lambda *_: None)
    elsewhere.answers["/a.wav"] = redirect(f"{server.url}/b.wav")
    server.answers["/b.wav"] = with_token(sound())
    access = replace(access_to(server), data_login=("reader", "secret:é"))
    assert_is_sound(source.locate(f"http://localhost:{elsewhere.server_port}/a.wav", access))
    expected = "Basic " + base64.b64encode("reader:secret:é".encode()).decode()
    assert elsewhere.tokens == [expected if named else None]
    assert server.tokens == [TOKEN]
    assert "secret" not in repr(access)


@pytest.mark.parametrize("login", [None, ("reader", "wrong")])
def test_a_refusal_names_who_refused(
    server: Server, elsewhere: Server, tmp_path: Path, login: tuple[str, str] | None
) -> None:
    source = SoundSource(settings_in(tmp_path, allowed_sound_hosts=["localhost"]))
    access = replace(access_to(server), data_login=login)
    elsewhere.answers["/data/a.wav"] = status(401)
    with pytest.raises(SoundUnreachableError) as caught:
        source.locate(f"http://localhost:{elsewhere.server_port}/data/a.wav", access)
    assert "LABEL_STUDIO_API_KEY" not in str(caught.value)
    assert ("user and password" in str(caught.value)) == (login is not None)
    server.answers["/data/upload/1/a.wav"] = status(401)
    with pytest.raises(SoundUnreachableError, match="LABEL_STUDIO_API_KEY"):
        source.locate("/data/upload/1/a.wav", access)
