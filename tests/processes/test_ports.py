"""Ports are checked on the address that is listened on, and what is wrong is said in one sentence."""

from __future__ import annotations

import socket

import pytest

from earmark.errors import ConfigurationError, PortInUseError
from earmark.processes.ports import check_ports_free, listening_socket, url_of

HAS_IPV6 = socket.has_ipv6
try:
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
except OSError:
    HAS_IPV6 = False
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "0.0.0.0",
        "localhost",
        pytest.param("::1", marks=needs_ipv6),
        pytest.param("::", marks=needs_ipv6),
    ],
)
def test_a_busy_port_is_reported_with_the_way_out(host: str) -> None:
    with listening_socket(host, 0) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"Port {port} is in use.*PORT={port + 1}"):
            check_ports_free({"PORT": (host, port)})
    check_ports_free({"PORT": (host, port)})


@needs_ipv6
def test_two_colons_mean_every_address() -> None:
    with listening_socket("::", 0) as listening:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listening.getsockname()[1]), timeout=5).close()


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "nowhere.invalid", "[::1]", "a b", "x" * 300, "\u3002"]
)
def test_an_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match="BIND="):
        check_ports_free({"PORT": (host, 9090)})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9090"),
        ("0.0.0.0", "http://127.0.0.1:9090"),
        ("::", "http://127.0.0.1:9090"),
        ("::1", "http://[::1]:9090"),
        ("localhost", "http://localhost:9090"),
    ],
)
def test_the_address_as_seen_from_here(host: str, url: str) -> None:
    assert url_of(host, 9090) == url
