"""Label Studio credentials: legacy and personal access tokens, and the address each may be sent to."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import httpx
import structlog

from earmark.audio.addresses import same_server, shown
from earmark.audio.source import LabelStudioAccess
from earmark.errors import LabelStudioError, SecretKeyError
from earmark.settings import Settings
from earmark.storage.token_cipher import TokenCipher
from earmark.store.access import data_login_of
from earmark.store.models import Project
from earmark.tls import tls_context

log = structlog.get_logger(__name__)

ACCESS_TOKEN_SECONDS = 240
"""An access token is valid for 5 minutes; it is renewed a minute earlier."""
REQUEST_TIMEOUT_SECONDS = 10.0


def is_personal_access_token(token: str) -> bool:
    """Whether a token is a personal access token: a JSON Web Token (RFC 7519), three parts from ``eyJ``."""
    return token.startswith("eyJ") and token.count(".") == 2


class Credentials:
    """Authorization headers for one Label Studio, from a token of either kind. Thread-safe.

    A legacy token is sent unchanged. A personal access token is a refresh token: it is exchanged
    for an access token, which is cached until shortly before it expires.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._lock = threading.Lock()
        self._access_token, self._valid_until = "", 0.0

    def headers(self) -> dict[str, str]:
        """Return the Authorization header.

        Raises
        ------
        LabelStudioError
            Label Studio refuses to exchange the token, or cannot be reached.
        """
        if not is_personal_access_token(self._token):
            return {"Authorization": f"Token {self._token}"}
        with self._lock:
            if time.monotonic() >= self._valid_until:
                self._access_token = self._exchange()
                self._valid_until = time.monotonic() + ACCESS_TOKEN_SECONDS
            return {"Authorization": f"Bearer {self._access_token}"}

    def _exchange(self) -> str:
        try:
            answer = httpx.post(
                f"{self._url}/api/token/refresh/",
                json={"refresh": self._token},
                timeout=REQUEST_TIMEOUT_SECONDS,
                verify=tls_context(),
            )
        except httpx.HTTPError as error:
            raise LabelStudioError(
                f"Label Studio at {shown(self._url)} cannot be reached ({error}): check LABEL_STUDIO_URL."
            ) from error
        if answer.status_code != httpx.codes.OK:
            raise LabelStudioError(
                f"Label Studio at {shown(self._url)} refuses the personal access token (HTTP "
                f"{answer.status_code}): make a new one under Account & Settings and set "
                "LABEL_STUDIO_API_KEY."
            )
        try:
            return str(answer.json()["access"])
        except (ValueError, KeyError, TypeError) as error:
            raise LabelStudioError(
                f"What answers at {shown(self._url)} does not exchange tokens like Label Studio: check "
                "LABEL_STUDIO_URL."
            ) from error


def address_and_token(settings: Settings, project: Project | None) -> tuple[str, str]:
    """Return address and token of a project's Label Studio; empty strings where unknown.

    The configured key is sent only to the configured address, since any client can send ``/setup`` a host
    name. A token that came with a host name is sent only to that host.

    Raises
    ------
    SecretKeyError
        The project's token was encrypted with another key.
    """
    url, key = settings.label_studio_url or "", settings.api_key or ""
    if url and key:
        return url, key
    has_token = project is not None and project.access_token and project.hostname
    if project is not None and has_token and (not url or same_server(url, project.hostname)):
        return url or project.hostname.rstrip("/"), TokenCipher(settings).decrypt(project.access_token)
    return url, ""


class AccessBook:
    """Cache of Label Studio credentials by address and token; see ``address_and_token``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials: dict[tuple[str, str], Credentials] = {}

    def for_project(self, project: Project | None) -> LabelStudioAccess | None:
        """Return the access for a project, or None when no Label Studio is known."""
        try:
            url, token = address_and_token(self._settings, project)
        except SecretKeyError as error:
            log.warning("token of Label Studio cannot be used", detail=str(error))
            url, token = self._settings.label_studio_url or "", ""
        if not url:
            return None
        access = self._access(url, token)
        if project is None:
            return access
        number = project.key.partition(".")[0]
        return replace(
            access,
            project_number=int(number) if number.isdecimal() else None,
            data_login=data_login_of(project, TokenCipher(self._settings)),
        )

    def required(self, project: Project | None) -> LabelStudioAccess:
        """Return the access for a project.

        Raises
        ------
        LabelStudioError
            No Label Studio is known, or no token for it.
        """
        access = self.for_project(project)
        if access is None or not access.has_token:
            raise LabelStudioError(
                "No Label Studio is known: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY "
                "(Account & Settings, Access Token)."
            )
        return access

    def _access(self, url: str, token: str) -> LabelStudioAccess:
        if not token:
            return LabelStudioAccess(url, dict, has_token=False)
        credentials = self._credentials.setdefault((url, token), Credentials(url, token))
        return LabelStudioAccess(url, credentials.headers)
