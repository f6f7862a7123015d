"""Label Studio's protocol for ML backends: /setup, /predict, /webhook, /versions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query

from backend.api.bodies import JsonRoute
from backend.api.journal import EventJournal
from backend.api.schemas import (
    PredictAnswer,
    PredictRequest,
    SetupAnswer,
    SetupRequest,
    VersionsAnswer,
    WebhookAnswer,
    WebhookRequest,
)
from backend.api.versions import read_versions
from backend.assist import Assistant
from backend.drawn_regions import interactive_context
from backend.jobs.dispatcher import Dispatcher
from backend.label_changes import note_label_config
from backend.metrics import ApiMetrics
from backend.preannotation import plan_rest
from backend.prediction import Predictions, Predictor
from backend.services import Services
from backend.store.events import KNOWN_ACTIONS
from backend.store.projects import UNKNOWN_PROJECT, project_key, remember_project

log = structlog.get_logger(__name__)

PREDICT_THREADS = 4
"""Predictions at a time; the encoder itself takes turns."""
SMALL_THREADS = 16
"""Threads for /setup and /versions, which predictions can never use up."""


def protocol_router(
    services: Services, metrics: ApiMetrics, dispatcher: Dispatcher, journal: EventJournal
) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter(route_class=JsonRoute)
    predictor, assistant = Predictor(services), Assistant(services)
    predict_pool = ThreadPoolExecutor(PREDICT_THREADS, thread_name_prefix="predict")
    small = CapacityLimiter(SMALL_THREADS)

    @router.post("/setup")
    async def setup(request: SetupRequest) -> SetupAnswer:
        """Remember what Label Studio says of the project; answer with its active version."""

        def remember() -> str:
            key = project_key(request.project)
            if key != UNKNOWN_PROJECT:
                with services.database.write() as session:
                    remember_project(
                        session,
                        key,
                        hostname=request.hostname,
                        access_token=request.access_token,
                    )
                    note_label_config(session, key, request.schema_, time.time())
            return services.version_name(key)

        dispatcher.ensure_running()
        return SetupAnswer(model_version=await to_thread.run_sync(remember, limiter=small))

    @router.post("/predict")
    async def predict(request: PredictRequest) -> PredictAnswer:
        """Predict tasks: one item for each, in order, whatever is wrong with some of them.

        With `params.context`, which the editor sends of a drawn region, the answer is about that region
        alone: an item with its id, its likeliest label and refined edges. It is empty for regions that
        are finished or were answered before.
        """
        label_config = request.label_config if isinstance(request.label_config, str) else ""
        context = interactive_context(request.params)
        what: Callable[..., Predictions] = predictor.predict if context is None else assistant.predict
        answer = await asyncio.get_running_loop().run_in_executor(
            predict_pool,
            what,
            request.tasks,
            request.project,
            label_config,
            services.settings.predict_budget_seconds if context is None else context,
        )
        if answer.left:
            rest = [request.tasks[position] for position in answer.left]
            await to_thread.run_sync(
                plan_rest, services, project_key(request.project), answer.version, rest, limiter=small
            )
        for reason, count in answer.failures.items():
            metrics.tasks.labels(reason).inc(count)
        metrics.tasks.labels("predicted").inc(max(0, len(answer.items) - sum(answer.failures.values())))
        return PredictAnswer(results=answer.items, model_version=answer.version)

    @router.post("/webhook", status_code=201)
    async def webhook(request: WebhookRequest) -> WebhookAnswer:
        """Store the event and answer. Training follows from the stored row."""
        # As it came: pydantic's own copy would refuse what is nested deeply.
        payload: dict[str, Any] = {**request.__dict__, **(request.model_extra or {})}
        event = await journal.store(payload)
        known = request.action in KNOWN_ACTIONS
        metrics.webhooks.labels(request.action if known else "other").inc()
        log.info("webhook stored", event_id=event, action=request.action[:64], known=known)
        dispatcher.ensure_running()
        return WebhookAnswer(event=event)

    @router.get("/versions")
    async def versions(
        project: Annotated[
            str | None, Query(description="`<id>.<created>`: this one alone, with its learning curve")
        ] = None,
    ) -> VersionsAnswer:
        """List the trained versions of every project, the newest first, and how each project stands."""
        return await to_thread.run_sync(read_versions, services, project, limiter=small)

    return router
