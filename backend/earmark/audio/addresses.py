"""Addresses of sounds as they may be shown, and what their names tell."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.DOTALL)


def shown(address: str) -> str:
    """Spell an address for messages, logs and faults: without user, password and signed query.

    The query stays where it names the file, at Label Studio's local files.
    """
    url = _URL.match(address)
    if url is None:
        return address.partition("?")[0] if address.startswith("/data/upload/") else address
    scheme, authority, path, query = url.groups(default="")
    host = authority.rpartition("@")[2]
    if not re.fullmatch(r"(\[[^\]]*\]|[^:\[]*)(:\d*)?", host):
        host, path = "…", ""  # a password with a slash in it, for one
    return f"{scheme}://{host}{path}{query if path.endswith('/data/local-files/') else ''}"


def safe_suffix(name: str) -> str:
    """Extension of a file name, such as ``.wav``, or empty when it has none worth keeping."""
    found = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return found.group().lower() if found else ""


DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port (RFC 6454), or None where the URL has none that can be trusted."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # urlsplit and other parsers disagree on backslashes: a token must not depend on who is right.
    if parts.scheme not in DEFAULT_PORTS or not host or "\\" in parts.netloc:
        return None
    return parts.scheme, host.rstrip("."), port or DEFAULT_PORTS[parts.scheme]


def same_server(one: str, other: str) -> bool:
    """Whether two URLs name one server, however they spell it: case, default port, slash at the end."""
    known = origin(one)
    return known is not None and known == origin(other) and _path(one) == _path(other)


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")
