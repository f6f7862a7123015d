"""Sound addresses: redaction for messages, file name suffix, origin (RFC 6454), path traversal."""

from __future__ import annotations

import base64
import posixpath
import re
from urllib.parse import parse_qs, unquote, urlsplit

from earmark.audio.data_uris import is_data_uri, shown_data_uri
from earmark.errors import SoundNotFoundError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?", re.DOTALL)
_NEARLY_URL = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?[/\\]*)([^/\\?#]*)")
"""What stands before the host, and the host with a user and password before it."""


def shown(address: str) -> str:
    """Redact an address for messages, logs and faults: without user, password and signed query.

    The query is kept where it names the file, in Label Studio's local files URLs.
    """
    if is_data_uri(address):
        return shown_data_uri(address)
    url = _URL.match(address)
    if url is None:
        if address.startswith(("/data/upload/", "//")):
            address = address.partition("?")[0]
        nearly = _NEARLY_URL.match(address)
        if nearly and ":" in nearly[0] and "@" in nearly[2]:
            return nearly[1] + nearly[2].rpartition("@")[2] + address[nearly.end() :]
        return address
    scheme, authority, path, query = url.groups(default="")
    host = authority.rpartition("@")[2]
    if not re.fullmatch(r"(\[[^\]]*\]|[^:\[]*)(:\d*)?", host):
        host, path = "…", ""  # for example a password with a slash in it
    return f"{scheme}://{host}{path}{query if path.endswith('/data/local-files/') else ''}"


def safe_suffix(name: str) -> str:
    """Return the lower-case extension of a file name, such as ``.wav``, or empty where none is usable."""
    match = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return match.group().lower() if match else ""


DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port (RFC 6454), or None where the URL's are missing or ambiguous."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    # URL parsers disagree on backslashes, so a token might be sent to another host than checked here.
    if parts.scheme not in DEFAULT_PORTS or not host or "\\" in parts.netloc:
        return None
    return parts.scheme, host.rstrip("."), port or DEFAULT_PORTS[parts.scheme]


def same_server(first: str, second: str) -> bool:
    """Whether two URLs have the same origin and path, ignoring case, default port and trailing slash."""
    first_origin = origin(first)
    return first_origin is not None and first_origin == origin(second) and _path(first) == _path(second)


def _path(url: str) -> str:
    return urlsplit(url).path.rstrip("/")


def basic_authorization(user: str, password: str) -> dict[str, str]:
    """Return the header of HTTP's Basic authentication (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def is_traversal(path: str) -> bool:
    """Whether a relative path leads above its start (path traversal), or is not relative."""
    flat = posixpath.normpath(path.replace("\\", "/"))
    return flat.startswith("/") or flat == ".." or flat.startswith("../")


def path_of_file_url(address: str) -> str:
    """Return the path in a ``file://`` URL, or raise SoundNotFoundError if it names another machine."""
    host, slash, rest = address[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost"):
        raise SoundNotFoundError(
            f"{quoted(address)} names another machine: use file:/// and an absolute path."
        )
    return slash + rest


def suffix_of(url: str) -> str:
    """Return the extension of the file that a URL names, in its path or in Label Studio's parameters."""
    parts = urlsplit(url)
    parameters = parse_qs(parts.query)
    name = next((parameters[key][0] for key in ("d", "filepath") if key in parameters), parts.path)
    return safe_suffix(unquote(name))


def file_name(address: str) -> str:
    """Return the file name in a sound's address, decoded, without a query that may hold a signature.

    It is the last part of the path, in Label Studio's local files URLs of the parameter ``d``; where there
    is none, the address as `shown` redacts it, as of ``data:`` URIs.
    """
    redacted = shown(address)
    if is_data_uri(address):
        return redacted
    path, _, query = redacted.partition("?")
    if path.rstrip("/").endswith("/data/local-files"):
        path = parse_qs(query).get("d", [""])[0]
    else:
        path = unquote(path)
    return path.rstrip("/").rpartition("/")[2] or redacted


def quoted(text: str) -> str:
    """Format an address for messages: short, on one line, without a password or a signed query."""
    spelled = "".join(letter if letter.isprintable() else "?" for letter in shown(text))
    return f"'{spelled[:200]}…'" if len(spelled) > 200 else f"'{spelled}'"
