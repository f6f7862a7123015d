"""Confirmation of a changed Label Studio address or token, by a request to the stored address."""

from __future__ import annotations

import hmac
import time
from typing import Any

import httpx
import structlog

from earmark.audio.addresses import same_server, shown
from earmark.errors import LabelStudioError, VersionError
from earmark.labelstudio.credentials import REQUEST_TIMEOUT_SECONDS, Credentials
from earmark.storage.token_cipher import TokenCipher
from earmark.store.access import accept_offer
from earmark.store.database import Database
from earmark.store.models import Project
from earmark.store.projects import project_key
from earmark.tls import tls_context

log = structlog.get_logger(__name__)

ASK_AGAIN_SECONDS = 60.0
"""Rate limit of confirmations: incoming requests must not cause a flood of outgoing ones."""


def confirm_offer(database: Database, key: str, cipher: TokenCipher) -> bool:
    """Verify an offered address or token with the stored Label Studio; store what it confirms.

    Another address is confirmed if the stored Label Studio, queried with the stored token, returns the
    offered token as its own. Another token for the stored address is confirmed if that address returns the
    project for it. Each token is sent only to the address that it came with.
    """
    now = time.time()
    with database.write() as session:
        project = session.get(Project, key)
        if project is None or not project.offered_token or now - project.offer_asked_at < ASK_AGAIN_SECONDS:
            return False
        project.offer_asked_at = now
    offered = project.offered_hostname, project.offered_token
    try:
        token, stored_token = cipher.decrypt(project.offered_token), cipher.decrypt(project.access_token)
        if same_server(project.hostname, project.offered_hostname):
            content = _get(project.hostname, token, f"/api/projects/{project.project_id}/")
            confirmed = project_key(content) == key
        elif stored_token:
            answer = _get(project.hostname, stored_token, "/api/current-user/token")
            own_token = answer.get("token") if isinstance(answer, dict) else None
            confirmed = isinstance(own_token, str) and hmac.compare_digest(own_token.encode(), token.encode())
        else:
            confirmed = False
        if confirmed:
            with database.write() as session:
                accept_offer(session, key, offered)
    except (LabelStudioError, VersionError) as error:  # changed meanwhile, or not reachable
        log.info("offer not confirmed", project=key, detail=str(error))
        return False
    return confirmed


def _get(url: str, token: str, path: str) -> Any:
    base = url.rstrip("/")
    try:
        headers = Credentials(base, token).headers()
        answer = httpx.get(
            f"{base}{path}", headers=headers, timeout=REQUEST_TIMEOUT_SECONDS, verify=tls_context()
        )
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = type(error).__name__
        raise LabelStudioError(
            f"Label Studio at {shown(url)} confirms nothing ({reason}): see whether it runs."
        ) from error
