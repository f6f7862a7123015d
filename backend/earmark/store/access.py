"""Address and token of a project's Label Studio: they change together, and only when a move is confirmed.

Everyone who reaches ``/setup`` can name an address. A token is sent to the address that it came with, and to
no other; an address that nothing vouches for waits beside the known pair as an offer.
"""

from __future__ import annotations

import hmac
import time

import structlog
from sqlalchemy.orm import Session

from earmark.audio.addresses import same_server, shown
from earmark.errors import SecretKeyError, VersionError
from earmark.storage.token_cipher import TokenCipher
from earmark.store.models import Project
from earmark.store.projects import is_storable, lock_project, remember_project

log = structlog.get_logger(__name__)


def remember_access(session: Session, key: str, hostname: object, token: object, cipher: TokenCipher) -> bool:
    """Take over the address and token of a request, where no token is known yet or it is the same one.

    A client that sends the known token has it already, so nothing is given away with the new address.

    Returns
    -------
    Whether they were put down as an offer instead: the known pair stays until the offer is confirmed.
    """
    project = remember_project(session, key)
    if not (is_storable(hostname) and isinstance(hostname, str) and same_server(hostname, hostname)):
        return False  # a token without an address belongs nowhere
    sent = token if is_storable(token) and isinstance(token, str) else ""
    known, same = _decrypted(cipher, project.access_token), same_server(hostname, project.hostname)
    vouched = bool(sent and known) and hmac.compare_digest(sent.encode(), known.encode())
    if not known or vouched:  # without a token there is nothing to give away
        if (project.hostname, known) != (hostname, sent):
            lock_project(session, key)
            _move(project, hostname, cipher.encrypt(sent))
        return False
    if same and not sent:
        return False
    if (project.offered_hostname, _decrypted(cipher, project.offered_token)) != (hostname, sent):
        project.offered_hostname, project.offered_token = hostname, cipher.encrypt(sent)
        project.offered_at, project.offer_asked_at = time.time(), 0.0
        log.warning(
            "another address or token of Label Studio waits for confirmation",
            project=key,
            known=shown(project.hostname),
            offered=shown(hostname),
            help=accept_hint(project),
        )
    return True


def accept_offer(session: Session, key: str, offered: tuple[str, str] | None = None) -> str:
    """Put the offered address and token in the place of the known ones; returns the address.

    Parameters
    ----------
    offered
        Address and token, as they are stored, that were confirmed; None takes those that are offered now.

    Raises
    ------
    VersionError
        Nothing is offered, or something else by now.
    """
    project = remember_project(session, key)
    lock_project(session, key)
    now = project.offered_hostname, project.offered_token
    if not project.offered_hostname or offered not in (None, now):
        raise VersionError(
            f"No other address of Label Studio waits for confirmation in project {project.project_id}: "
            "connect the backend in Label Studio again."
        )
    _move(project, *now)
    log.info("moved to another address of Label Studio", project=key, hostname=shown(project.hostname))
    return project.hostname


def accept_hint(project: Project) -> str:
    """The command that confirms a project's offer."""
    return f"earmark doctor --accept-host {project.project_id}"


def _decrypted(cipher: TokenCipher, stored: str) -> str:
    try:
        return cipher.decrypt(stored)
    except SecretKeyError as error:  # nothing is left to protect: the next token that comes is taken
        log.warning("stored token is lost", detail=str(error))
        return ""


def _move(project: Project, hostname: str, token: str) -> None:
    project.hostname, project.access_token = hostname, token
    project.offered_hostname = project.offered_token = ""
    project.offered_at = project.offer_asked_at = 0.0
