"""The HTTP application."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from backend import __version__
from backend.api.labels import labels_router
from backend.api.protocol import protocol_router
from backend.errors import EarmarkError
from backend.jobs.dispatcher import Dispatcher
from backend.logs import configure_logging
from backend.metrics import ApiMetrics
from backend.services import Services
from backend.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Build the application. The database is migrated here; no model is loaded, no file fetched."""
    configure_logging(settings.log_level)
    # Requests run side by side, and their matrix products are small: with threads of its own, each of
    # them would fight for the cores with the others and with the encoder (measured: 2 to 3 times slower).
    threadpool_limits(limits=1, user_api="blas")
    services = Services(settings)
    services.database.upgrade()
    metrics = ApiMetrics(services.database)
    dispatcher = Dispatcher(settings, services.database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        dispatcher.ensure_running()
        yield
        dispatcher.stop()
        services.close()

    app = FastAPI(
        title="Earmark",
        version=__version__,
        summary="Label Studio ML backend for sound that learns from every correction",
        lifespan=lifespan,
    )
    app.include_router(protocol_router(services, metrics, dispatcher))
    app.include_router(labels_router(services))

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.perf_counter()
        response = await call_next(request)
        # The route's own path, never the raw one: strangers' paths would each become a time series.
        endpoint = getattr(request.scope.get("route"), "path", "other")
        metrics.latency.labels(endpoint).observe(time.perf_counter() - started)
        metrics.requests.labels(endpoint, response.status_code).inc()
        return response

    @app.exception_handler(RequestValidationError)
    async def explain(_request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return JSONResponse({"detail": f"The request cannot be read: {faults}. See /docs."}, 422)

    @app.exception_handler(EarmarkError)
    async def fail(_request: Request, error: EarmarkError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "reason": error.reason}, 503)

    return app
