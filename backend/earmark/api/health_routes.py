"""Health check, readiness and metrics routes for load balancers, orchestrators and Prometheus."""

from __future__ import annotations

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from earmark import __version__
from earmark.api.schemas import HealthAnswer, ReadyAnswer
from earmark.monitoring.prometheus import ApiMetrics
from earmark.monitoring.readiness import Readiness

HEALTH_THREADS = 4
"""Threads that answer ``/ready`` and ``/metrics``, so that a scrape never occupies those of the protocol."""


def health_router(metrics: ApiMetrics, readiness: Readiness) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter()
    threads, scrapes = CapacityLimiter(HEALTH_THREADS), CapacityLimiter(HEALTH_THREADS)

    @router.get("/health")
    async def health() -> HealthAnswer:
        """Report that the process is up, without checking anything else."""
        return HealthAnswer(status="UP", version=__version__)

    @router.get(
        "/ready",
        response_model=ReadyAnswer,
        responses={503: {"model": ReadyAnswer, "description": "a part is not ready"}},
    )
    async def ready() -> Response:
        """Report whether all parts work: database, Redis, a worker, the encoder's weights."""
        faults = await to_thread.run_sync(readiness.faults, limiter=threads)
        answer = ReadyAnswer(ready=not faults, faults=faults, notes=readiness.notes())
        return JSONResponse(answer.model_dump(), 503 if faults else 200)

    @router.get("/metrics", response_class=Response)
    async def prometheus() -> Response:
        """Prometheus metrics."""
        text = await to_thread.run_sync(metrics.exposition, limiter=scrapes)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router
