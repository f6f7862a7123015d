"""Confirmation that a Label Studio moved to another address or token, by asking the known one."""

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

log = structlog.get_logger(__name__)

ASK_AGAIN_SECONDS = 60.0
"""Requests of others must not become a flood of ours."""


def confirm_offer(database: Database, key: str, cipher: TokenCipher) -> bool:
    """Ask the known Label Studio about an offer, and accept what it confirms.

    Another address is confirmed where the known Label Studio, asked with the known token, says that the
    token that came with it is its own. Another token for the known address is confirmed where that address
    shows the project for it. Each token goes to the address that it came with.
    """
    now = time.time()
    with database.write() as session:
        project = session.get(Project, key)
        if project is None or not project.offered_token or now - project.offer_asked_at < ASK_AGAIN_SECONDS:
            return False
        project.offer_asked_at = now
    offered = project.offered_hostname, project.offered_token
    try:
        token, known = cipher.decrypt(project.offered_token), cipher.decrypt(project.access_token)
        if same_server(project.hostname, project.offered_hostname):
            shows = _get(project.hostname, token, f"/api/projects/{project.project_id}/")
            confirmed = project_key(shows) == key
        elif known:
            answer = _get(project.hostname, known, "/api/current-user/token")
            own = answer.get("token") if isinstance(answer, dict) else None
            confirmed = isinstance(own, str) and hmac.compare_digest(own.encode(), token.encode())
        else:
            confirmed = False
        if confirmed:
            with database.write() as session:
                accept_offer(session, key, offered)
    except (LabelStudioError, VersionError) as error:  # it changed meanwhile, or cannot be asked
        log.info("offer not confirmed", project=key, detail=str(error))
        return False
    return confirmed


def _get(url: str, token: str, path: str) -> Any:
    base = url.rstrip("/")
    try:
        headers = Credentials(base, token).headers()
        answer = httpx.get(f"{base}{path}", headers=headers, timeout=REQUEST_TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = type(error).__name__
        raise LabelStudioError(
            f"Label Studio at {shown(url)} confirms nothing ({reason}): see whether it runs."
        ) from error
