"""``predict`` and ``fit`` for ``model.py``, run by Label Studio ML backend servers other than our own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import redis
import structlog

from earmark.concurrency.deadline import Deadline
from earmark.errors import EarmarkError
from earmark.jobs.dispatcher import learn_request
from earmark.jobs.queue import ensure_job, job_queue, live_workers
from earmark.jobs.redis_server import connect
from earmark.labels.config_changes import receive_webhook, update_label_config
from earmark.labelstudio.host_moves import confirm_offer
from earmark.learning.training import learn_all
from earmark.prediction.assistant import Assistant
from earmark.prediction.predictor import Predictor
from earmark.services import Services
from earmark.settings import get_settings
from earmark.store.access import remember_access
from earmark.store.projects import UNKNOWN_PROJECT, latest_key, project_key

log = structlog.get_logger(__name__)


@lru_cache(maxsize=1)
def process_services() -> Services:
    """Return the services of this process (a singleton), after migrating the database."""
    services = Services(get_settings())
    services.database.upgrade()
    return services


class Hooks:
    """``predict`` and ``fit``, using the same services as our own server."""

    def __init__(self, label_config: str = "", hostname: str = "", access_token: str = "") -> None:
        self._label_config, self._hostname, self._access_token = label_config, hostname, access_token

    @classmethod
    def of(cls, model: Any) -> Hooks:
        """Return hooks for a model of any base class; attributes that it lacks are taken as empty."""
        names = ("label_config", "hostname", "access_token")
        return cls(*(getattr(model, name, None) or "" for name in names))

    def predict(
        self, tasks: Sequence[Any], project: object = None, context: object = None
    ) -> list[dict[str, Any]]:
        """Predict tasks of one project, or the drawn regions of a context.

        See ``Predictor.predict`` and ``Assistant.predict``. These servers pass ``{}`` for no context.
        """
        services = process_services()
        deadline = Deadline(services.settings.predict_budget_seconds)
        key = self._resolve_key(tasks, project)
        if key != UNKNOWN_PROJECT:
            with services.database.write() as session:
                offered = remember_access(session, key, self._hostname, self._access_token, services.cipher)
                # A model may be older than the label config of the last webhook
                update_label_config(session, key, self._label_config, received_at=0.0)
            if offered:
                confirm_offer(services.database, key, services.cipher)
        if context:
            return Assistant(services).predict(tasks, key, self._label_config, context, deadline).items
        return Predictor(services).predict(tasks, key, self._label_config, deadline).items

    def fit(self, event: object, data: object) -> dict[str, Any]:
        """Store a webhook and train on it: in a worker where one runs, else in this process."""
        services = process_services()
        payload = {**data, "action": str(event)} if isinstance(data, dict) else {"action": str(event)}
        with services.database.write() as session:
            key = receive_webhook(session, payload).project_key
        if key != UNKNOWN_PROJECT and not self._enqueue_training(services, key):
            try:
                learn_all(services, key)
            except EarmarkError as error:
                # Recorded with the training and retried at the next webhook; the previous version answers
                log.warning("training failed", project=key, reason=error.reason, detail=str(error))
        return {"model_version": services.version_name(key)}

    def _enqueue_training(self, services: Services, key: str) -> bool:
        connection = connect(services.settings)
        try:
            if live_workers(job_queue(connection)) == 0:
                return False
            ensure_job(connection, learn_request(key, services.settings), 0.0)
            return True
        except redis.RedisError as error:
            log.info("no Redis: training in this process", error=str(error))
            return False
        finally:
            connection.close()

    def _resolve_key(self, tasks: Sequence[Any], project: object) -> str:
        """Return the project key.

        These servers pass the bare id or none: the newest such project is used.
        """
        key = project_key(project)
        if key != UNKNOWN_PROJECT:
            return key
        first = tasks[0] if tasks and isinstance(tasks[0], dict) else {}
        number = project if isinstance(project, int | str) else first.get("project")
        with process_services().database.read() as session:
            return latest_key(session, number)
