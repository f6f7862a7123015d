"""Sounds in private networks are fetched only from Label Studio's own host and from hosts on the list."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from earmark.audio.allowed_hosts import HostList, ip_address, is_private
from earmark.audio.source import SoundSource
from earmark.errors import SoundNotFoundError, SoundUnreachableError
from tests.audio.sound_server import Server, access_to, assert_is_sound, redirect, settings_in, sound

pytestmark = pytest.mark.usefixtures("hasty")
PUBLIC = "93.184.215.14"


@pytest.fixture
def strict(tmp_path: Path) -> SoundSource:
    return SoundSource(settings_in(tmp_path, allowed_sound_hosts=()))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "user@127.0.0.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
    ],
)
def test_this_machine_is_not_reached(server: Server, strict: SoundSource, host: str) -> None:
    server.answers["/a.wav"] = sound()
    port = server.url.rpartition(":")[2]
    with pytest.raises((SoundNotFoundError, SoundUnreachableError)):  # some spellings resolve nowhere
        strict.locate(f"http://{host}:{port}/a.wav", None)
    assert server.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "192.168.1.1", "[fe80::1]", "[fd00::1]"])
def test_nor_are_private_networks_and_the_message_says_how(strict: SoundSource, host: str) -> None:
    with pytest.raises(SoundNotFoundError, match=r"ALLOWED_SOUND_HOSTS="):
        strict.locate(f"http://{host}/latest/meta-data/a.wav?secret=s", None)


def test_label_studios_own_host_is_reached_whatever_its_port(
    server: Server, elsewhere: Server, strict: SoundSource
) -> None:
    server.answers["/data/upload/1/a.wav"] = elsewhere.answers["/b.wav"] = sound()
    assert_is_sound(strict.locate("/data/upload/1/a.wav", access_to(server)))
    assert_is_sound(strict.locate(f"{elsewhere.url}/b.wav", access_to(server)))


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_hosts_on_the_list_are_reached(server: Server, tmp_path: Path, entry: str) -> None:
    server.answers["/a.wav"] = sound()
    source = SoundSource(settings_in(tmp_path, allowed_sound_hosts=(entry,)))
    assert_is_sound(source.locate(f"{server.url}/a.wav", None))


def test_a_redirect_leads_to_no_other_private_host(
    server: Server, elsewhere: Server, strict: SoundSource
) -> None:
    elsewhere.answers["/a.wav"] = sound()
    inside = elsewhere.url.replace("127.0.0.1", "localhost")
    server.answers["/a.wav"] = redirect(f"{inside}/a.wav")
    with pytest.raises(SoundNotFoundError, match="ALLOWED_SOUND_HOSTS"):
        strict.locate(f"{server.url}/a.wav", access_to(server))
    assert elsewhere.requests == []


@pytest.mark.parametrize("answers", [[PUBLIC, "127.0.0.1"], ["127.0.0.1", "127.0.0.1"]])
def test_a_name_that_leads_here_only_for_the_connection_gets_nothing(
    server: Server, strict: SoundSource, monkeypatch: pytest.MonkeyPatch, answers: list[str]
) -> None:
    """DNS rebinding: the address that counts is the one that is connected to."""
    server.answers["/a.wav"] = sound()
    port, look_up = int(server.url.rpartition(":")[2]), socket.getaddrinfo

    def rebinding(host: str, wanted: Any, *rest: Any, **more: Any) -> Any:
        return look_up(answers.pop(0) if host == "rebinding.example" else host, wanted, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with pytest.raises(SoundNotFoundError, match="ALLOWED_SOUND_HOSTS"):
        strict.locate(f"http://rebinding.example:{port}/a.wav", None)
    assert server.requests == []


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.1.2.3", True),
        ("100.64.0.1", True),
        ("127.0.0.1", True),
        ("169.254.169.254", True),
        ("224.0.0.1", True),
        ("0.0.0.0", True),
        ("255.255.255.255", True),
        ("::1", True),
        ("::", True),
        ("::127.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("64:ff9b::a00:1", True),
        ("2002:a00:1::1", True),
        ("fe80::1%eth0", True),
        ("fd12::1", True),
        (PUBLIC, False),
        ("::ffff:93.184.215.14", False),
        ("64:ff9b::5db8:d70e", False),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", False),
    ],
)
def test_private_addresses_are_told_from_public_ones(address: str, private: bool) -> None:
    parsed = ip_address(address)
    assert parsed is not None
    assert is_private(parsed) is private


def test_lists_hold_names_domains_addresses_and_networks() -> None:
    hosts = HostList(["sounds.example", "*.lab.example", "192.168.0.0/16", "fd00::1"])
    for host in ("Sounds.example", "sounds.example.", "a.b.lab.example", "192.168.3.4", "fd00::1"):
        assert hosts.has_host(host)
    for host in ("lab.example", "xsounds.example", "sounds.example.org", "192.169.0.1", "fd00::2", ""):
        assert not hosts.has_host(host)
