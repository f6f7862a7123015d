"""FastAPI application: its routes, middleware, exception handlers and background threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from threadpoolctl import threadpool_limits
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from earmark import __version__
from earmark.api.docs import docs_router
from earmark.api.event_writer import EventWriter
from earmark.api.health_routes import health_router
from earmark.api.labels import labels_router
from earmark.api.protocol import protocol_router
from earmark.api.request_middleware import RequestMetrics
from earmark.api.security import Guard
from earmark.api.suggest import suggest_router
from earmark.encoders.background_fetch import prepare
from earmark.errors import EarmarkError
from earmark.jobs.dispatcher import Dispatcher
from earmark.logs import configure_logging
from earmark.monitoring.prometheus import ApiMetrics
from earmark.monitoring.readiness import Readiness
from earmark.services import Services
from earmark.settings import Settings
from earmark.web.changes import ChangeStreams
from earmark.web.responses import refusal
from earmark.web.routes import pages_router

log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Build the application and migrate the database. No model is loaded; missing weights are downloaded in
    the background once the application runs.
    """
    configure_logging(settings.log_level, settings.log_format)
    # Requests run in parallel, and their matrix products are small: BLAS threads for each request would
    # compete for the cores with other requests and with the encoder (measured: 2 to 3 times slower).
    threadpool_limits(limits=1, user_api="blas")
    if settings.open_to_others:
        log.warning(
            "open to everybody who reaches the port", bind=settings.bind, help="set API_PASSWORD; see README"
        )
    services = Services(settings)
    services.database.upgrade()
    metrics = ApiMetrics(settings, services.database)
    event_writer = EventWriter(settings.sqlalchemy_url)
    readiness = Readiness(services)
    dispatcher = Dispatcher(settings, services.database)
    streams = ChangeStreams(services.database, readiness.faults)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        dispatcher.ensure_running()
        prepare(settings)
        yield
        streams.close()
        event_writer.close()
        readiness.close()
        dispatcher.stop()
        services.close()

    app = FastAPI(
        title="Earmark",
        version=__version__,
        summary="Label Studio ML backend for sound that learns from every correction",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's default pages load their scripts from the internet
        redoc_url=None,
    )
    app.state.streams = streams
    app.include_router(protocol_router(services, metrics, dispatcher, event_writer))
    app.include_router(health_router(metrics, readiness))
    app.include_router(labels_router(services))
    app.include_router(suggest_router(services))
    app.include_router(pages_router(services, readiness, streams))
    app.include_router(docs_router(app.title))

    app.add_middleware(Guard, settings=settings)
    if settings.trusted_proxies:  # the client's address must be known before requests are counted by it
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    app.add_middleware(RequestMetrics, metrics=metrics)  # added last, so it wraps all others

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        return refusal(request, 422, f"The request cannot be read: {faults}. See /docs.")

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        return refusal(request, error.status_code, error.detail, headers=error.headers)

    @app.exception_handler(EarmarkError)
    async def fail(request: Request, error: EarmarkError) -> Response:
        return refusal(request, 503, str(error), error.reason)

    @app.exception_handler(SQLAlchemyError)
    async def no_database(request: Request, error: SQLAlchemyError) -> Response:
        log.error("database failed", exc_info=error)
        detail = "The database does not answer: check DATABASE_URL, or DATA_DIR and its disk."
        return refusal(request, 503, detail, "database")

    return app
