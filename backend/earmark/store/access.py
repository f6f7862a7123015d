"""Address and token of a project's Label Studio: they change together, and only when a move is confirmed.

Every client that reaches ``/setup`` can name an address. A token is sent to the address that it came with,
and to no other; an unverified address is stored beside the present pair, as an offer.
"""

from __future__ import annotations

import hmac
import json
import time

import structlog
from sqlalchemy.orm import Session

from earmark.audio.addresses import same_server, shown
from earmark.errors import ConfigurationError, SecretKeyError
from earmark.storage.token_cipher import TokenCipher
from earmark.store.models import Project
from earmark.store.projects import is_storable, lock_project, remember_project

log = structlog.get_logger(__name__)


def remember_access(session: Session, key: str, hostname: object, token: object, cipher: TokenCipher) -> bool:
    """Store the address and token of a request, where no token is stored yet or it is the same one.

    A client that sends the stored token has it already, so nothing is disclosed to the new address.

    Returns
    -------
    Whether they were stored as an offer instead: the present pair stays until the offer is confirmed.
    """
    project = remember_project(session, key)
    if not (is_storable(hostname) and isinstance(hostname, str) and same_server(hostname, hostname)):
        return False  # a token without an address is of no use
    sent_token = token if is_storable(token) and isinstance(token, str) else ""
    old_token, same_address = (
        _decrypted(cipher, project.access_token),
        same_server(hostname, project.hostname),
    )
    token_matches = bool(sent_token and old_token) and hmac.compare_digest(
        sent_token.encode(), old_token.encode()
    )
    if not old_token or token_matches:  # without a token there is nothing to disclose
        if (project.hostname, old_token) != (hostname, sent_token):
            lock_project(session, key)
            _move(project, hostname, cipher.encrypt(sent_token))
        return False
    if same_address and not sent_token:
        return False
    if (project.offered_hostname, _decrypted(cipher, project.offered_token)) != (hostname, sent_token):
        project.offered_hostname, project.offered_token = hostname, cipher.encrypt(sent_token)
        project.offered_at, project.offer_asked_at = time.time(), 0.0
        log.warning(
            "another address or token of Label Studio waits for confirmation",
            project=key,
            known=shown(project.hostname),
            offered=shown(hostname),
            help=accept_hint(project),
        )
    return True


def remember_data_login(
    session: Session, key: str, login: tuple[str, str] | None, cipher: TokenCipher
) -> None:
    """Store the user and password for the servers of a project's sounds, or delete the stored ones (None).

    Raises
    ------
    ConfigurationError
        The key that encrypts them cannot be stored in the data folder.
    """
    project = remember_project(session, key) if login else session.get(Project, key)
    if project is not None and data_login_of(project, cipher) != login:
        project.data_login = cipher.encrypt(json.dumps(login)) if login else ""


def data_login_of(project: Project, cipher: TokenCipher) -> tuple[str, str] | None:
    """Return the stored user and password for the servers of a project's sounds, or None without any."""
    stored = _decrypted(cipher, project.data_login) if project.data_login else ""
    if not stored:
        return None
    user, password = json.loads(stored)
    return str(user), str(password)


def accept_offer(session: Session, key: str, offered: tuple[str, str] | None = None) -> str:
    """Replace the stored address and token by the offered ones; returns the address.

    Parameters
    ----------
    offered
        The confirmed address and token, as stored; None takes those that are offered now.

    Raises
    ------
    ConfigurationError
        Nothing is offered, or another pair by now.
    """
    project = remember_project(session, key)
    lock_project(session, key)
    present_offer = project.offered_hostname, project.offered_token
    if not project.offered_hostname or offered not in (None, present_offer):
        raise ConfigurationError(
            f"No other address of Label Studio waits for confirmation in project {project.project_id}: "
            "connect the backend in Label Studio again."
        )
    _move(project, *present_offer)
    log.info("moved to another address of Label Studio", project=key, hostname=shown(project.hostname))
    return project.hostname


def accept_hint(project: Project) -> str:
    """The command that confirms a project's offer."""
    return f"earmark doctor --accept-host {project.project_id}"


def _decrypted(cipher: TokenCipher, stored: str) -> str:
    try:
        return cipher.decrypt(stored)
    except SecretKeyError as error:  # nothing is left to protect: the next token is accepted
        log.warning("stored token is lost", detail=str(error))
        return ""


def _move(project: Project, hostname: str, token: str) -> None:
    project.hostname, project.access_token = hostname, token
    project.offered_hostname = project.offered_token = ""
    project.offered_at = project.offer_asked_at = 0.0
