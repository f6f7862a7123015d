"""TCP ports of this machine: sockets that listen, and a check that ports are free."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

import psutil

from earmark.errors import ConfigurationError, PortInUseError

BACKLOG = 2048


def listening_socket(host: str, port: int, variable: str = "PORT") -> socket.socket:
    """Return a socket that listens on a host's address; on ``::`` on all addresses, those of IPv4 included.

    Parameters
    ----------
    variable
        Environment variable that changes the port, for the message.

    Raises
    ------
    PortInUseError
        The port is in use; the message names the program, where it is known, and the remedy.
    ConfigurationError
        The host is no address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _not_here(host, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        listening.bind(address)
        listening.listen(BACKLOG)
    except PermissionError:
        listening.close()
        raise PortInUseError(
            f"Port {port} is not for ordinary users: choose one above 1023, for example {variable}=9090."
        ) from None
    except OSError as error:
        listening.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise _not_here(host, error) from error
        raise PortInUseError(
            f"Port {port} is in use{_listener(port)}: stop that program, "
            f"or choose another port, for example {variable}={port % 65535 + 1}."
        ) from None
    return listening


def check_ports_free(ports: Mapping[str, tuple[str, int]]) -> None:
    """Check that all ports are free, before anything is started; raises as ``listening_socket``.

    Parameters
    ----------
    ports
        Host and port by the environment variable that changes it.
    """
    for variable, (host, port) in ports.items():
        listening_socket(host, port, variable).close()


def url_of(host: str, port: int) -> str:
    """Return the URL of what listens there, as seen from this machine."""
    seen = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
    return f"http://[{seen}]:{port}" if ":" in seen else f"http://{seen}:{port}"


def _not_here(host: str, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or error
    return ConfigurationError(
        f"BIND={host} is no address of this machine ({reason}): set it to 127.0.0.1, or to 0.0.0.0 for "
        "every interface."
    )


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                name = psutil.Process(connection.pid).name() if connection.pid else "another user's program"
                return f" by {name} (process {connection.pid})" if connection.pid else f" by {name}"
    except psutil.Error:
        return ""
    return ""
