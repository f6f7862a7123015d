"""Addresses of sounds as they may be shown, and what their names tell."""

from __future__ import annotations

import re

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
