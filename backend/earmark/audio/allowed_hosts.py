"""Protection against server-side request forgery: which hosts sounds may be fetched from.

Everyone who may write tasks in Label Studio chooses addresses that this process requests. Hosts in private
networks are therefore reached only when they are Label Studio's own or on ``ALLOWED_SOUND_HOSTS``. A name
says nothing about where it leads, so the addresses that it resolves to are checked, and after connecting
the one that was connected to.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from earmark.audio.addresses import shown
from earmark.errors import SoundNotFoundError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Trace = Callable[[str, Mapping[str, Any]], None]
"""Callback for httpx's ``trace`` extension: name of an event, and what belongs to it."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv6 addresses whose last 32 bits are an IPv4 address (RFC 6052)."""


class HostList:
    """Host names (``*.domain`` for all names below one, ``*`` for every host), IP addresses and networks."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._domains: list[str] = []
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                name = entry.lower().rstrip(".")
                if name.startswith("*."):
                    self._domains.append(name[1:])
                else:
                    self._names.add(name)

    def has_host(self, host: str) -> bool:
        """Whether a host, a name or an IP address, is on the list; names are not resolved."""
        name = host.lower().rstrip(".")
        address = ip_address(name)
        if address is not None and self.has_address(address):
            return True
        return "*" in self._names or name in self._names or name.endswith(tuple(self._domains))

    def has_address(self, address: Address) -> bool:
        """Whether an IP address is in one of the networks."""
        return any(address in network for network in self._networks)


class SoundHosts:
    """The hosts that sounds may be fetched from.

    Parameters
    ----------
    allowed
        ``ALLOWED_SOUND_HOSTS``.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = HostList(allowed)

    def names(self, host: str) -> bool:
        """Whether the operator has named a host, a name or an IP address."""
        return self._allowed.has_host(host)

    def check_url(self, url: str, own_host: str = "") -> None:
        """Check a URL before it is requested, by the addresses that its host resolves to.

        Parameters
        ----------
        own_host
            Host of the Label Studio that the task came from, which may be anywhere.

        Raises
        ------
        SoundNotFoundError
            The host is in a private network, and neither Label Studio's nor on the list.
        """
        host = urlsplit(url).hostname or ""
        if self._is_named(host, own_host):
            return
        for address in _resolved(host):
            self._check_address(address, url)

    def connection_check(self, url: str, own_host: str = "") -> Trace:
        """Return a callback for httpx's ``trace`` extension that checks the address which is connected to.

        It raises SoundNotFoundError before anything is sent; see ``check_url``.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        # The connection to a proxy says nothing about the host, which the proxy connects to
        unchecked = self._is_named(host, own_host) or _goes_through_proxy(parts.scheme, host)

        def check(event: str, info: Mapping[str, Any]) -> None:
            if unchecked or not event.endswith(".connect_tcp.complete"):
                return
            stream = info["return_value"]
            try:
                self._check_address(ipaddress.ip_address(stream.get_extra_info("server_addr")[0]), url)
            except SoundNotFoundError:
                stream.close()
                raise

        return check

    def _is_named(self, host: str, own_host: str) -> bool:
        return bool(host) and (host.lower() == own_host.lower() or self._allowed.has_host(host))

    def _check_address(self, address: Address, url: str) -> None:
        if is_private(address) and not self._allowed.has_address(address):
            raise _refused(url, str(address))


def ip_address(text: str) -> Address | None:
    """Parse an IP address, without the zone of an IPv6 one; None for any other text."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_private(address: Address) -> bool:
    """Whether an address is not of the public internet: private, loopback, link-local, shared, reserved.

    IPv6 addresses that stand for an IPv4 address are as private as that.
    """
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_private(embedded)
        if address.teredo is not None:
            return True
    return not address.is_global or address.is_multicast


def _resolved(host: str) -> list[Address]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # connecting reports it
    addresses = (ip_address(str(entry[4][0])) for entry in entries)
    return [address for address in addresses if address is not None]


def _goes_through_proxy(scheme: str, host: str) -> bool:
    """Whether HTTP_PROXY and its relatives, which httpx follows, have a proxy connect to the host."""
    proxies = urllib.request.getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not urllib.request.proxy_bypass(host)


def _refused(url: str, address: str) -> SoundNotFoundError:
    host = urlsplit(url).hostname or url
    return SoundNotFoundError(
        f"{shown(url)} leads to {address}, in a private network that is not Label Studio's: if sounds may be "
        f"fetched from there, set ALLOWED_SOUND_HOSTS={host}."
    )
