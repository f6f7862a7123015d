"""Routes of the pages: overview, projects, tasks, their sounds and pictures, and the stream of changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from earmark.errors import EarmarkError
from earmark.monitoring.readiness import Readiness
from earmark.pages.environment import STATIC_FILES, static_text
from earmark.services import Services
from earmark.web.actions import actions_router
from earmark.web.changes import ChangeStreams
from earmark.web.label_page import label_page
from earmark.web.media import WIDTHS, Media
from earmark.web.project_page import Pages, find_title
from earmark.web.responses import FILE_HEADERS, page
from earmark.web.rows import LONGEST_SOUND_SECONDS
from earmark.web.task_page import task_page

PAGE_THREADS, MEDIA_THREADS = 4, 4
"""Requests at a time; sounds are apart, as they may have to be fetched first."""
YEAR = "public, max-age=31536000, immutable"

_Result = TypeVar("_Result")
TaskNumber = Annotated[int, Path(ge=0, lt=2**63)]


def pages_router(services: Services, readiness: Readiness, streams: ChangeStreams) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter(include_in_schema=False)
    pages, media = Pages(services), Media(services)
    page_threads, media_threads = CapacityLimiter(PAGE_THREADS), CapacityLimiter(MEDIA_THREADS)
    router.include_router(actions_router(services, page_threads))

    async def read(work: Callable[[], _Result]) -> _Result:
        return await to_thread.run_sync(work, limiter=page_threads)

    @router.get("/")
    async def overview(request: Request) -> Response:
        faults = await read(readiness.faults)
        values = await read(partial(pages.overview, faults))
        return page(request, "overview.html", **values)

    @router.get("/projects/{key}")
    async def project(request: Request, key: str, done: str = "") -> Response:
        faults = await read(readiness.faults)
        values = await read(partial(pages.project, key, faults))
        if values is None:
            return await missing(request, "No such project has connected to this backend.")
        return page(request, "project.html", done=done, **values)

    @router.get("/projects/{key}/events")
    async def events(request: Request, key: str) -> Response:
        return stream(request, key)

    @router.get("/events")
    async def all_events(request: Request) -> Response:
        return stream(request, None)

    @router.get("/projects/{key}/label")
    async def label(request: Request, key: str, control: str, label: str) -> Response:
        values = await read(partial(label_page, pages, key, control, label))
        if values is None:
            return await missing(
                request, "No such project has connected, or its label config has no such label.", key
            )
        return page(request, "label.html", **values)

    @router.get("/projects/{key}/tasks/{task}")
    async def show_task(
        request: Request,
        key: str,
        task: TaskNumber,
        sound: str = "",
        # The sound's length limits both
        start: Annotated[float | None, Query(alias="from", allow_inf_nan=False)] = None,
        end: Annotated[float | None, Query(alias="to", allow_inf_nan=False)] = None,
    ) -> Response:
        work = partial(task_page, pages, media, key, task, sound, start, end)
        try:
            values = await to_thread.run_sync(work, limiter=media_threads)
        except EarmarkError as error:
            return await message(request, 409, f"Task {task}", str(error), key)
        if values is None:
            return await missing(
                request, f"Task {task} is not known here: annotate or predict it first.", key
            )
        return page(request, "task.html", **values)

    @router.get("/projects/{key}/tasks/{task}/spectrogram.png")
    async def spectrogram(
        key: str,
        task: TaskNumber,
        start: Annotated[float, Query(alias="from", ge=0, le=LONGEST_SOUND_SECONDS)],
        # The last tile may reach as far beyond the end of the sound
        end: Annotated[float, Query(alias="to", gt=0, le=2 * LONGEST_SOUND_SECONDS)],
        width: int = WIDTHS[0],
        sound: str = "",
    ) -> Response:
        if width not in WIDTHS or end <= start:
            raise HTTPException(422, "Give a stretch that ends after its start, and a width of 256 or 512.")

        def draw() -> bytes:
            located, name = media.locate(key, task, sound)
            return media.picture(located, name, start, end, width)

        png = await fetch(draw)
        return Response(
            png, media_type="image/png", headers={**FILE_HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    @router.get("/projects/{key}/tasks/{task}/sound")
    async def play(key: str, task: TaskNumber, sound: str = "") -> Response:
        path, kind = await fetch(lambda: media.playable(*media.locate(key, task, sound)))
        return FileResponse(
            path, media_type=kind, headers={**FILE_HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    @router.get("/projects/{key}/tasks/{task}/curves")
    async def curves(
        key: str,
        task: TaskNumber,
        start: Annotated[float, Query(alias="from", ge=0, le=LONGEST_SOUND_SECONDS)],
        end: Annotated[float, Query(alias="to", gt=0, le=LONGEST_SOUND_SECONDS)],
        sound: str = "",
    ) -> dict[str, Any]:
        return await fetch(partial(media.curves, key, task, sound, start, end))

    @router.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC_FILES:
            raise HTTPException(404, "There is no such file.")
        return PlainTextResponse(
            static_text(name),
            media_type=STATIC_FILES[name],
            headers={"Cache-Control": YEAR, "X-Content-Type-Options": "nosniff"},
        )

    def stream(request: Request, key: str | None) -> StreamingResponse:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = streams.events(key, once="wsgi_environ" in request.scope)  # see _wsgi.py
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)

    async def fetch(work: Callable[[], _Result]) -> _Result:
        """Run what needs a sound; a failure is a 404 with its sentence."""
        try:
            return await to_thread.run_sync(work, limiter=media_threads)
        except EarmarkError as error:
            raise HTTPException(404, str(error)) from error

    async def missing(request: Request, text: str, key: str = "") -> Response:
        return await message(request, 404, "Not found", text, key)

    async def message(request: Request, status: int, title: str, text: str, key: str) -> Response:
        project = await read(partial(find_title, services, key)) if key else ""
        return page(request, "message.html", status, key=key, project=project, title=title, text=text)

    return router
