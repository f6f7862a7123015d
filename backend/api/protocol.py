"""Label Studio's protocol for ML backends: /health, /setup, /predict, /webhook, /versions."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backend import __version__
from backend.api.schemas import (
    HealthAnswer,
    PredictAnswer,
    PredictRequest,
    SetupAnswer,
    SetupRequest,
    VersionDetail,
    VersionsAnswer,
    WebhookAnswer,
    WebhookRequest,
)
from backend.jobs.dispatcher import Dispatcher
from backend.metrics import ApiMetrics
from backend.prediction import Predictor
from backend.services import Services
from backend.store.events import KNOWN_ACTIONS, record_event
from backend.store.projects import UNKNOWN_PROJECT, project_key, remember_project
from backend.store.registry import list_versions

log = structlog.get_logger(__name__)

PREDICT_THREADS = 4
"""Predictions at a time; the encoder itself takes turns."""
SMALL_THREADS = 16
"""Threads for /setup, /webhook and /versions, which predictions can never use up."""


def protocol_router(services: Services, metrics: ApiMetrics, dispatcher: Dispatcher) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter()
    predictor = Predictor(services)
    predict_pool = ThreadPoolExecutor(PREDICT_THREADS, thread_name_prefix="predict")
    small = CapacityLimiter(SMALL_THREADS)

    @router.get("/health")
    async def health() -> HealthAnswer:
        """Say that the process is up. Touches nothing."""
        return HealthAnswer(status="UP", version=__version__)

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
                        label_config=request.schema_,
                        hostname=request.hostname,
                        access_token=request.access_token,
                    )
            return services.version_name(key)

        dispatcher.ensure_running()
        return SetupAnswer(model_version=await to_thread.run_sync(remember, limiter=small))

    @router.post("/predict")
    async def predict(request: PredictRequest) -> PredictAnswer:
        """Predict tasks: one item for each, in order, whatever is wrong with some of them."""
        label_config = request.label_config if isinstance(request.label_config, str) else ""
        answer = await asyncio.get_running_loop().run_in_executor(
            predict_pool,
            predictor.predict,
            request.tasks,
            request.project,
            label_config,
            services.settings.predict_budget_seconds,
        )
        for reason, count in answer.failures.items():
            metrics.tasks.labels(reason).inc(count)
        metrics.tasks.labels("predicted").inc(max(0, len(answer.items) - sum(answer.failures.values())))
        return PredictAnswer(results=answer.items, model_version=answer.version)

    @router.post("/webhook", status_code=201)
    async def webhook(request: WebhookRequest) -> WebhookAnswer:
        """Store the event and answer. Training follows from the stored row."""
        payload: dict[str, Any] = request.model_dump()

        def store() -> int:
            with services.database.write() as session:
                return record_event(session, payload).id

        event = await to_thread.run_sync(store, limiter=small)
        known = request.action in KNOWN_ACTIONS
        metrics.webhooks.labels(request.action if known else "other").inc()
        if not known:
            log.info("unknown webhook kept", action=request.action[:64], number=event)
        dispatcher.ensure_running()
        return WebhookAnswer(event=event)

    @router.get("/versions")
    async def versions() -> VersionsAnswer:
        """List the trained versions of every project, the newest first."""

        def read() -> VersionsAnswer:
            with services.database.read() as session:
                rows = list_versions(session)
            details = [
                VersionDetail(
                    project=row.project_key,
                    name=row.name,
                    active=row.active,
                    encoder=row.encoder,
                    annotations=row.annotations,
                    created_at=row.created_at,
                    metrics=row.metrics,
                )
                for row in rows
            ]
            return VersionsAnswer(versions=list(dict.fromkeys(row.name for row in rows)), details=details)

        return await to_thread.run_sync(read, limiter=small)

    @router.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Prometheus metrics."""
        text = await to_thread.run_sync(generate_latest, metrics.registry, limiter=small)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router
