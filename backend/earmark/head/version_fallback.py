"""Fallback to an earlier version of a project where the head of the active one cannot be used.

A stored head may be cut short, or hold NaN: earlier releases could store, and serve, such a head. The
database goes on naming it as active, so that a release that can read it serves it again.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from earmark.errors import HeadDamagedError
from earmark.head.model import Head
from earmark.store.models import Version
from earmark.store.registry import accepted_before, load_head


def answering_version(
    session: Session, active: Version, read: Callable[[Version], object] | None = None
) -> tuple[Version | None, str]:
    """The version to serve, and what is wrong with the active one where that is another.

    Parameters
    ----------
    read
        Reads a version's head, raising `HeadDamagedError`; by default from the session's database.

    Returns
    -------
    The active version and an empty text; or the newest earlier one that was accepted and can be read, None
    where only the untrained start is left, and a sentence.
    """

    def stored(version: Version) -> object:
        return Head.from_bytes(load_head(session, version.id))

    read = read or stored
    try:
        read(active)
    except HeadDamagedError as error:
        fault = f"{active.name} cannot be used: {error}"
    else:
        return active, ""
    for version in accepted_before(session, active):
        try:
            read(version)
        except HeadDamagedError:
            continue
        return version, f"{fault} {version.name} answers in its place."
    return None, f"{fault} No earlier version can be used in its place."
