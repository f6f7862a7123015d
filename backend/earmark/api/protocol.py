"""Label Studio's protocol for ML backends: /setup, /predict, /webhook, /versions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, BackgroundTasks, Query
from sqlalchemy.exc import SQLAlchemyError

from earmark.api.event_writer import EventWriter
from earmark.api.json_body import JsonRoute
from earmark.api.request_pool import RequestPool
from earmark.api.schemas import (
    PredictAnswer,
    PredictRequest,
    SetupAnswer,
    SetupRequest,
    VersionsAnswer,
    WebhookAnswer,
    WebhookRequest,
)
from earmark.api.versions import read_versions
from earmark.concurrency.deadline import Deadline
from earmark.concurrency.fair_pool import FairPool
from earmark.concurrency.single_flight import SingleFlight
from earmark.errors import ConfigurationError, OutOfTimeError
from earmark.jobs.dispatcher import Dispatcher
from earmark.labels.config_changes import update_label_config
from earmark.labelstudio.host_moves import confirm_offer
from earmark.monitoring.prometheus import ApiMetrics
from earmark.prediction.assistant import Assistant
from earmark.prediction.bulk_plan import plan_remaining
from earmark.prediction.deduplication import record_predictions, task_number
from earmark.prediction.drawn_regions import interactive_context
from earmark.prediction.predictor import Predictions, Predictor
from earmark.services import Services
from earmark.store.access import remember_access, remember_data_login
from earmark.store.events import KNOWN_ACTIONS
from earmark.store.projects import UNKNOWN_PROJECT, is_storable, project_key

log = structlog.get_logger(__name__)

PREDICT_THREADS, PREDICT_THREADS_A_PROJECT = 64, 8
"""Requests at a time. Most of them wait for sounds; ``COMPUTE_SLOTS`` limits those that compute."""
MOVE_THREADS = 2
"""Projects, at a time, whose Label Studio is asked to confirm that it moved."""
SMALL_THREADS = 16
"""Threads reserved for /setup and /versions, so that predictions cannot exhaust them."""


def protocol_router(
    services: Services, metrics: ApiMetrics, dispatcher: Dispatcher, event_writer: EventWriter
) -> APIRouter:
    """Return the routes, bound to the services of this process."""
    router = APIRouter(route_class=JsonRoute)
    predictor, assistant = Predictor(services), Assistant(services)
    predict_pool: RequestPool[Predictions] = RequestPool(
        PREDICT_THREADS, PREDICT_THREADS_A_PROJECT, "predict"
    )
    moves: FairPool[bool] = FairPool(MOVE_THREADS, 1, "move")
    small = CapacityLimiter(SMALL_THREADS)
    flight = SingleFlight()
    logins: dict[str, tuple[str, str] | None] = {}  # by project, as stored by this process

    @router.post("/setup")
    async def setup(request: SetupRequest) -> SetupAnswer:
        """Store Label Studio's address and label config of the project; return its active version."""

        def remember() -> str:
            key = project_key(request.project)
            if key != UNKNOWN_PROJECT:
                try:
                    with services.database.write() as session:
                        offered = remember_access(
                            session, key, request.hostname, request.access_token, services.cipher
                        )
                        update_label_config(session, key, request.schema_, time.time())
                except (SQLAlchemyError, ConfigurationError) as error:  # asked for before each /predict
                    log.warning("address and label config not stored", project=key, error=str(error))
                    offered = False
                if offered:  # in the background: confirmation takes longer than Label Studio waits
                    moves.submit(key, key, lambda: confirm_offer(services.database, key, services.cipher))
            return services.version_name(key)

        dispatcher.ensure_running()
        return SetupAnswer(model_version=await to_thread.run_sync(remember, limiter=small))

    async def in_time(
        key: str, deadline: Deadline, work: Callable[[], Predictions], otherwise: Callable[[], Predictions]
    ) -> Predictions:
        """Run ``work`` in a thread; return ``otherwise()`` when the deadline has passed."""
        try:
            return await predict_pool.run(key, deadline, work)
        except OutOfTimeError:
            log.warning("request cut short", project=key)
            return await to_thread.run_sync(otherwise, limiter=small)

    def keep_login(key: str, login: tuple[str, str] | None) -> None:
        try:
            with services.database.write() as session:
                remember_data_login(session, key, login, services.cipher)
        except (SQLAlchemyError, ConfigurationError) as error:  # a full disk: predictions go on without it
            log.warning("login for task data not stored", project=key, detail=str(error))
        else:
            logins[key] = login

    @router.post("/predict")
    async def predict(request: PredictRequest, background: BackgroundTasks) -> PredictAnswer:
        """Predict tasks: one item for each, in order, even where some of them fail.

        With `params.context`, which the editor sends for a drawn region, the answer is about that region
        alone: an item with its id, its likeliest label and refined edges. It is empty for regions that
        are finished or were answered before.
        """
        deadline, key = Deadline(services.settings.predict_budget_seconds), project_key(request.project)
        login = data_login(request.params)
        if key != UNKNOWN_PROJECT and (key, login) not in logins.items():
            await to_thread.run_sync(keep_login, key, login, limiter=small)
        label_config = request.label_config if isinstance(request.label_config, str) else ""
        context = interactive_context(request.params)
        if context is not None:
            answer = await in_time(
                key,
                deadline,
                lambda: assistant.predict(request.tasks, key, label_config, context, deadline),
                lambda: assistant.unanswered(request.tasks, key),
            )
            count_tasks(metrics, answer)
            return PredictAnswer(results=answer.items, model_version=answer.version)
        numbers = [task_number(task) for task in request.tasks]
        entered = {number for number in numbers if number is not None}
        taken = flight.begin(key, entered)
        elsewhere = taken if len(request.tasks) > 1 else set()
        tasks = [task for task, n in zip(request.tasks, numbers, strict=True) if n not in elsewhere]
        try:
            answer = await in_time(
                key,
                deadline,
                lambda: predictor.predict(tasks, request.project, label_config, deadline),
                lambda: predictor.out_of_time(tasks, request.project),
            )
        finally:
            flight.end(key, entered - taken)
        if answer.unreached:
            rest = [tasks[position] for position in answer.unreached]
            try:
                await to_thread.run_sync(plan_remaining, services, key, answer.version, rest, limiter=small)
            except SQLAlchemyError as error:  # Label Studio asks for them again
                log.warning("rest of a request not planned", project=key, error=str(error))
        # After the response, so that it does not wait for the database; Label Studio stores it even later
        background.add_task(record_predictions, services, key, tasks, answer)
        count_tasks(metrics, answer)
        items = iter(answer.items)
        left_out = {"model_version": answer.version}
        results = [left_out if number in elsewhere else next(items) for number in numbers]
        return PredictAnswer(results=results, model_version=answer.version)

    @router.post("/webhook", status_code=201)
    async def webhook(request: WebhookRequest) -> WebhookAnswer:
        """Store the event and answer. Training follows from the stored row."""
        # Without model_dump(), which refuses deeply nested values.
        payload: dict[str, Any] = {**request.__dict__, **(request.model_extra or {})}
        event_id = await event_writer.store(payload)
        is_known = request.action in KNOWN_ACTIONS
        metrics.webhooks.labels(request.action if is_known else "other").inc()
        log.info("webhook stored", event_id=event_id, action=request.action[:64], known=is_known)
        dispatcher.ensure_running()
        dispatcher.wake()
        return WebhookAnswer(event=event_id)

    @router.get("/versions")
    async def versions(
        project: Annotated[
            str | None, Query(description="`<id>.<created>`: this one alone, with its learning curve")
        ] = None,
    ) -> VersionsAnswer:
        """List the trained versions of every project, newest first, and the status of each project."""
        return await to_thread.run_sync(read_versions, services, project, limiter=small)

    return router


def data_login(params: object) -> tuple[str, str] | None:
    """Return the user and password for a project's task data that Label Studio sends along, if it has any."""
    login, password = (
        (params.get("login"), params.get("password")) if isinstance(params, dict) else (None, None)
    )
    usable = is_storable(login) and is_storable(password)
    return (login, password) if usable and isinstance(login, str) and isinstance(password, str) else None


def count_tasks(metrics: ApiMetrics, answer: Predictions) -> None:
    """Count a request's tasks in the metrics, by outcome."""
    for reason, tasks in answer.failures.items():
        metrics.tasks.labels(reason).inc(tasks)
    metrics.tasks.labels("predicted").inc(max(0, len(answer.items) - sum(answer.failures.values())))
