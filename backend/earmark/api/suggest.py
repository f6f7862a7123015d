"""``POST /suggest``: label and edge suggestions for a drawn region, for any client."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from earmark.api.json_body import JsonRoute
from earmark.api.request_pool import RequestPool
from earmark.api.schemas import LabelScore, SuggestAnswer, SuggestRequest
from earmark.concurrency.deadline import Deadline
from earmark.errors import (
    EarmarkError,
    LabelConfigError,
    RegionError,
    SoundNotFoundError,
    SoundUnreachableError,
    SoundUnreadableError,
)
from earmark.prediction.assistant import Assistant
from earmark.services import Services
from earmark.store.projects import find_project

SUGGEST_THREADS, SUGGEST_THREADS_A_PROJECT = 16, 4
"""Suggestions at a time, in separate threads: a new sound must be downloaded and encoded first."""


def suggest_router(services: Services) -> APIRouter:
    """Return the route, bound to the services of this process."""
    router = APIRouter(route_class=JsonRoute)
    assistant = Assistant(services)
    pool: RequestPool[SuggestAnswer] = RequestPool(SUGGEST_THREADS, SUGGEST_THREADS_A_PROJECT, "suggest")

    @router.post(
        "/suggest",
        responses={
            404: {"description": "no such project has connected, or there is no such sound"},
            422: {"description": "the body, the sound, the stretch or the label config cannot be used"},
            503: {"description": "the encoder's weights or the database cannot be had"},
        },
    )
    async def suggest(request: SuggestRequest) -> SuggestAnswer:
        """Suggest the label of a stretch of a sound, and where exactly it starts and ends.

        The answer is what Label Studio's editor gets for a drawn region.
        """
        deadline = Deadline(services.settings.predict_budget_seconds)
        return await pool.run(str(request.project), deadline, lambda: answer(request, deadline))

    def answer(request: SuggestRequest, deadline: Deadline) -> SuggestAnswer:
        if request.end <= request.start:
            raise HTTPException(
                422,
                f"The stretch ends at {request.end:g} s and starts at "
                f"{request.start:g} s: give an end after the start.",
            )
        try:
            with services.database.read() as session:
                project = find_project(session, str(request.project))
        except EarmarkError as error:
            raise HTTPException(404, str(error)) from error
        try:
            suggested = assistant.suggest(
                project, request.label_config, request.audio, request.start, request.end, deadline
            )
        except SoundNotFoundError as error:
            raise HTTPException(404, str(error)) from error
        except (LabelConfigError, RegionError, SoundUnreadableError, SoundUnreachableError) as error:
            raise HTTPException(422, str(error)) from error
        suggestion = suggested.suggestion
        return SuggestAnswer(
            label=suggestion.labels[0][0] if suggestion.labels else None,
            labels=[LabelScore(label=label, score=score) for label, score in suggestion.labels],
            start=round(suggestion.start, 6),
            end=round(suggestion.end, 6),
            model_version=suggested.version,
        )

    return router
