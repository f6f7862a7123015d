"""Actions of the page: promote a version and roll back; each activation is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from earmark.errors import EarmarkError, ProjectNameError, VersionError
from earmark.services import Services
from earmark.store.models import Project, Version
from earmark.store.registry import find_version, previous_version, promote, roll_back
from earmark.web.project_page import find_title
from earmark.web.responses import page, refuse_other_origins
from earmark.web.version_points import measured

log = structlog.get_logger(__name__)


def actions_router(services: Services, threads: CapacityLimiter) -> APIRouter:
    """Return the routes that ask for a confirmation and, once it is given, act."""
    router = APIRouter(include_in_schema=False)

    @router.get("/projects/{key}/serve")
    async def confirm_promotion(request: Request, key: str, version: str = "") -> Response:
        return await confirmation(request, key, lambda: _versions(services, key, version))

    @router.get("/projects/{key}/rollback")
    async def confirm_rollback(request: Request, key: str) -> Response:
        return await confirmation(request, key, lambda: _versions_of_rollback(services, key))

    @router.post("/projects/{key}/serve")
    async def serve(request: Request, key: str, version: str = "") -> Response:
        refuse_other_origins(request)
        return await act(request, key, lambda: _promote(services, key, version))

    @router.post("/projects/{key}/rollback")
    async def back(request: Request, key: str, version: str = "") -> Response:
        refuse_other_origins(request)
        return await act(request, key, lambda: _roll_back(services, key, version))

    async def confirmation(request: Request, key: str, read: Callable[[], dict[str, Any]]) -> Response:
        try:
            values = await to_thread.run_sync(read, limiter=threads)
        except EarmarkError as error:
            return await refused(request, key, error)
        action = request.url.path.rpartition("/")[2]
        project = await to_thread.run_sync(find_title, services, key, limiter=threads)
        return page(request, "confirm.html", key=key, project=project, action=action, **values)

    async def refused(request: Request, key: str, error: EarmarkError) -> Response:
        project = await to_thread.run_sync(find_title, services, key, limiter=threads)
        values = {"key": key, "project": project, "title": "Not possible", "text": str(error)}
        return page(request, "message.html", 409, **values)

    async def act(request: Request, key: str, change: Callable[[], str]) -> Response:
        try:
            name = await to_thread.run_sync(change, limiter=threads)
        except EarmarkError as error:
            return await refused(request, key, error)
        address = request.client.host if request.client else ""
        log.info("version put to use on the page", project=key, version=name, client=address)
        return RedirectResponse(f"../{key}?{urlencode({'done': name})}", 303)

    return router


def _promote(services: Services, key: str, name: str) -> str:
    with services.database.write() as session:
        return promote(session, _key_of(session.get(Project, key)), name, services.encoder_identity()).name


def _roll_back(services: Services, key: str, expected: str) -> str:
    """Go back, if that still leads to the version that was confirmed."""
    with services.database.write() as session:
        version = roll_back(session, _key_of(session.get(Project, key)), services.encoder_identity())
        if version.name != expected:
            raise VersionError(
                f"Another version was put to use meanwhile: going back now leads to {version.name}, not to "
                f"{expected}. Open the page again and decide anew."
            )
        return version.name


def _versions(services: Services, key: str, name: str) -> dict[str, Any]:
    active = services.serving_version(key)
    with services.database.read() as session:
        version = find_version(session, _key_of(session.get(Project, key)), name)
    return {"chosen": _figures(version), "active": active and _figures(active)}


def _versions_of_rollback(services: Services, key: str) -> dict[str, Any]:
    active = services.serving_version(key)
    with services.database.read() as session:
        project = _key_of(session.get(Project, key))
        version = previous_version(session, project, services.encoder_identity())
    return {"chosen": _figures(version), "active": active and _figures(active)}


def _key_of(project: Project | None) -> str:
    if project is None:
        raise ProjectNameError("No such project has connected: open the overview and choose one.")
    return project.key


def _figures(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "annotations": version.annotations,
        "created_at": version.created_at,
        "reason": version.reason,
        "quality": measured(version.metrics).quality,
    }
