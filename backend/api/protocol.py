"""Label Studio's protocol for ML backends: /setup, /predict, /webhook, /versions."""

from __future__ import annotations

import asyncio
import contextvars
import time
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
from backend.deadline import Deadline
from backend.fair_pool import FairPool
from backend.jobs.dispatcher import Dispatcher
from backend.label_changes import note_label_config
from backend.labelstudio.moves import confirm_offer
from backend.metrics import ApiMetrics
from backend.preannotation import plan_rest
from backend.prediction import Predictions, Predictor
from backend.services import Services
from backend.store.access import remember_access
from backend.store.events import KNOWN_ACTIONS
from backend.store.projects import UNKNOWN_PROJECT, project_key

log = structlog.get_logger(__name__)

PREDICT_THREADS, PREDICT_THREADS_A_PROJECT = 64, 8
"""Requests at a time. Most of them wait for sounds; ``COMPUTE_SLOTS`` limits those that compute."""
GRACE_SECONDS = 5.0
"""After its budget, a request whose thread hangs is answered without it."""
MOVE_THREADS = 2
"""Projects whose Label Studio is asked at a time whether it moved."""
SMALL_THREADS = 16
"""Threads for /setup and /versions, which predictions can never use up."""


def protocol_router(
    services: Services, metrics: ApiMetrics, dispatcher: Dispatcher, journal: EventJournal
) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter(route_class=JsonRoute)
    predictor = Predictor(services)
    predict_pool: FairPool[Predictions] = FairPool(PREDICT_THREADS, PREDICT_THREADS_A_PROJECT, "predict")
    moves: FairPool[bool] = FairPool(MOVE_THREADS, 1, "move")
    small = CapacityLimiter(SMALL_THREADS)

    @router.post("/setup")
    async def setup(request: SetupRequest) -> SetupAnswer:
        """Remember what Label Studio says of the project; answer with its active version."""

        def remember() -> str:
            key = project_key(request.project)
            if key != UNKNOWN_PROJECT:
                with services.database.write() as session:
                    offered = remember_access(
                        session, key, request.hostname, request.access_token, services.cipher
                    )
                    note_label_config(session, key, request.schema_, time.time())
                if offered:  # asking takes longer than Label Studio waits
                    moves.submit(key, key, lambda: confirm_offer(services.database, key, services.cipher))
            return services.version_name(key)

        dispatcher.ensure_running()
        return SetupAnswer(model_version=await to_thread.run_sync(remember, limiter=small))

    @router.post("/predict")
    async def predict(request: PredictRequest) -> PredictAnswer:
        """Predict tasks: one item for each, in order, whatever is wrong with some of them."""
        label_config = request.label_config if isinstance(request.label_config, str) else ""
        deadline, seconds = Deadline(services.settings.predict_budget_seconds), GRACE_SECONDS
        context = contextvars.copy_context()  # log lines of the thread carry the request's id
        ticket = predict_pool.submit(
            project_key(request.project),
            object(),
            lambda: context.run(predictor.predict, request.tasks, request.project, label_config, deadline),
        )
        try:
            seconds += deadline.remaining() or 0.0
            answer = await asyncio.wait_for(asyncio.wrap_future(ticket.future), seconds)
        except TimeoutError:
            if ticket.future.done() and not ticket.future.cancelled():
                raise  # the work's own
            log.warning("request cut short", project=project_key(request.project), left=len(request.tasks))
            answer = await to_thread.run_sync(
                predictor.left_out, request.tasks, request.project, limiter=small
            )
        finally:
            predict_pool.release(ticket)
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
