"""RQ job functions. Each takes a project key, or the id that it names; all other state is in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from earmark.learning.awaited_sounds import fetch_awaited
from earmark.learning.synchronization import sync_if_due
from earmark.learning.training import learn as learn_project
from earmark.logs import configure_logging
from earmark.prediction.bulk import process_chunks
from earmark.prediction.deduplication import deduplicate as deduplicate_predictions
from earmark.prediction.deduplication import delete_superseded
from earmark.prediction.refresh import refresh_next, refresh_predictions
from earmark.services import Services
from earmark.settings import get_settings


def learn(project_key: str) -> None:
    """Train the project's head on the waiting webhooks; refresh the next tasks with a new version at once.

    A separate job would start half a second later, behind others in its queue.
    """
    with _services() as services:
        training = learn_project(services, project_key)
        if training is not None and training.outcome == "registered":
            refresh_next(services, project_key)


def refresh(project_key: str) -> None:
    """Write predictions of the active version to Label Studio's open tasks."""
    with _services() as services:
        refresh_predictions(services, project_key)


def sync(project_key: str) -> None:
    """Synchronize the project with Label Studio, and delete predictions that were superseded long ago."""
    with _services() as services:
        sync_if_due(services, project_key)
        delete_superseded(services, project_key)


def deduplicate(project_key: str) -> None:
    """Leave one prediction of ours on tasks that got a second one from a concurrent ``/predict``."""
    with _services() as services:
        deduplicate_predictions(services, project_key)


def fetch(project_key: str) -> None:
    """Download the sounds that the project's last training left out."""
    with _services() as services:
        fetch_awaited(services, project_key)


def preannotate(run_and_place: str) -> None:
    """Predict chunks of a bulk prediction run. The argument is ``<run>-<place>``, a place for each worker."""
    with _services() as services:
        process_chunks(services, int(run_and_place.partition("-")[0]))


@contextmanager
def _services() -> Iterator[Services]:
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    # A second BLAS thread doubled the CPU time of logmel and saved nothing; workers run in parallel instead
    threadpool_limits(limits=1, user_api="blas")
    with Services(settings, background=True) as services:
        yield services
