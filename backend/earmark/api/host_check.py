"""Check of the ``Host`` and ``Origin`` headers: protection against DNS rebinding and cross-site requests.

A web page can have its own name resolve to 127.0.0.1, so that a browser sends this API requests which that
page may read. Such requests carry the page's name as ``Host``; it is none of this API's.
"""

from __future__ import annotations

import platform
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from earmark.audio.allowed_hosts import HostList, ip_address
from earmark.settings import Settings

LOOPBACK = ("localhost", "*.localhost", "127.0.0.0/8", "::1")
OF_CONTAINERS = ("host.docker.internal", "host.containers.internal")
"""Names under which containers reach the machine that they run on; no public name ends in ``.internal``."""


class HostCheck:
    """The names and addresses of this API: loopback, ``BIND`` and ``ALLOWED_HOSTS``.

    Where ``BIND`` is every interface (0.0.0.0 or ::), the machine's name, its names in containers and all IP
    addresses are allowed: a page that was loaded from an IP address has no name to rebind.
    """

    def __init__(self, settings: Settings) -> None:
        address = ip_address(settings.bind)
        everywhere = address is not None and address.is_unspecified
        bound = (platform.node() or "localhost", *OF_CONTAINERS) if everywhere else (settings.bind,)
        self._hosts = HostList((*LOOPBACK, *bound, *settings.allowed_hosts))
        self._any_address = everywhere

    def refusal(self, headers: Headers) -> JSONResponse | None:
        """Return the answer (400) to a request under a foreign name or from a foreign page, else None."""
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if host and not self._is_ours(f"//{host}"):  # HTTP/1.0 has no Host, and no browser speaks it
            return _refused("This API is not called", host)
        if origin and not self._is_ours(origin):
            return _refused("Pages may not send requests here from", origin)
        return None

    def _is_ours(self, url: str) -> bool:
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            return False
        return self._hosts.has_host(host) or (self._any_address and ip_address(host) is not None)


def _refused(what: str, name: str) -> JSONResponse:
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:100])
    detail = f"{what} {shown}: where Earmark runs, add its host name to ALLOWED_HOSTS if it should be."
    return JSONResponse({"detail": detail, "reason": "host"}, 400)
