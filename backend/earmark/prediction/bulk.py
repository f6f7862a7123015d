"""Bulk predictions: workers process the chunks of a run and write to Label Studio; see ``bulk_plan``.

A chunk has a few minutes of sound, and a lease. Processing it twice is harmless: the second worker skips
tasks that have a prediction of the version already.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import structlog

from earmark.errors import LabelStudioError
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.task_pages import Filter, Listing
from earmark.prediction.bulk_plan import needs_prediction, task_filters
from earmark.prediction.predictor import Predictor
from earmark.prediction.task_selection import Selection
from earmark.prediction.write_windows import wait_for_window
from earmark.prediction.writer import PredictionWriter
from earmark.services import Services
from earmark.store.lease_renewal import heartbeat
from earmark.store.models import Preannotation, PreannotationChunk, Project
from earmark.store.preannotations import ChunkDone, claim_chunk, finish_chunk, release_chunk, renew_chunk
from earmark.store.registry import version_names

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15.0
SHIFT_SECONDS = 60.0
"""A job takes no further chunk after this time, so that other jobs get their turn; the next job continues."""
RETRY_SECONDS = 15.0
LONGEST_WINDOW_WAIT_SECONDS = 30.0
"""Longest wait for a write window; after that, a run writes nevertheless."""
MOST_ATTEMPTS = 3
"""Attempts at a chunk; a file that crashes its worker must not prevent the end of a run."""


def process_chunks(services: Services, run_id: int) -> int:
    """Process chunks of a run, one after another, until none is left or `SHIFT_SECONDS` have passed.

    Returns
    -------
    Number of chunks that were finished.
    """
    owner, ends_at, finished = uuid.uuid4().hex, time.monotonic() + SHIFT_SECONDS, 0
    while finished == 0 or time.monotonic() < ends_at:
        with services.database.write() as session:
            chunk = claim_chunk(session, run_id, owner, LEASE_SECONDS)
            run = session.get(Preannotation, run_id)
        if chunk is None or run is None:
            break
        try:
            done = _exhausted_result(chunk) or _predict_chunk(services, run, chunk, owner)
        except LabelStudioError as error:
            log.warning("bulk predictions wait for Label Studio", run=run_id, detail=str(error))
            with services.database.write() as session:
                release_chunk(session, chunk, owner, RETRY_SECONDS)
            break
        if done is None:
            break
        with services.database.write() as session:
            finish_chunk(session, chunk, owner, done)
        finished += 1
    return finished


def _exhausted_result(chunk: PreannotationChunk) -> ChunkDone | None:
    """Return the failed result of a chunk with too many attempts; None while it may be tried."""
    if chunk.attempts <= MOST_ATTEMPTS:
        return None
    sentence = (
        f"Its worker died {MOST_ATTEMPTS} times over this task and its neighbours: read the worker's log, "
        "then run preannotate again."
    )
    return ChunkDone(0, {}, {str(number): sentence for number in chunk.tasks})


def _predict_chunk(
    services: Services, run: Preannotation, chunk: PreannotationChunk, owner: str
) -> ChunkDone | None:
    """Predict and write a chunk; None when another worker has its lease by now, or the run was cancelled."""
    with services.database.read() as session:
        project = session.get_one(Project, run.project_key)

    def renew_lease() -> bool:
        with services.database.write() as session:
            return renew_chunk(session, chunk, owner, LEASE_SECONDS)

    with heartbeat(renew_lease, LEASE_SECONDS / 4) as lost:
        selection = Selection(run.selection)
        version = services.serving_version(project.key)
        name = version.name if version else services.untrained_name()
        tasks = [
            task
            for task in _tasks_of(Listing(services.access.required(project)), project, selection, chunk)
            if needs_prediction(task, selection, name)
        ]
        requests = [{"id": task["id"], "data": task.get("data")} for task in tasks]
        answer = Predictor(services).predict(requests, project.key, project.label_config)
        if lost.is_set() or not renew_lease():
            return None
        items = [
            (task, item)
            for number, (task, item) in enumerate(zip(tasks, answer.items, strict=True))
            if number not in answer.failed
        ]
        with services.database.read() as session:
            own_versions = version_names(session, project.key) | {services.untrained_name()}
        with explained(services.settings.label_studio_url or project.hostname):
            client = client_for(services.settings, project)
            wait_for_window(services.database, project.key, LONGEST_WINDOW_WAIT_SECONDS, lost.is_set)
            written = PredictionWriter(services, client, project, own_versions).write(answer.version, items)
    if written.deferred:
        raise LabelStudioError(
            f"{len(written.deferred)} tasks are given the same prediction by another worker, or by Label "
            "Studio, at this moment: they are looked at again in a moment."
        )
    failed = {str(tasks[number]["id"]): sentence for number, sentence in answer.failed.items()}
    labels = Counter(label for _, item in items for label in _labels(item["result"]))
    return ChunkDone(len(items), dict(labels), failed)


def _tasks_of(
    listing: Listing, project: Project, selection: Selection, chunk: PreannotationChunk
) -> Iterator[dict[str, Any]]:
    """Yield the chunk's tasks from Label Studio, without those that the selection no longer includes."""
    wanted = set(chunk.tasks)
    between: tuple[Filter, ...] = (
        ("id", "greater_or_equal", "Number", min(wanted)),
        ("id", "less_or_equal", "Number", max(wanted)),
    )
    include = ("data", "predictions", "predictions_model_versions", "is_labeled")
    for page in listing.tasks(project.project_id, *task_filters(selection), *between, include=include):
        yield from (task for task in page if task["id"] in wanted)


def _labels(result: list[dict[str, Any]]) -> set[str]:
    """Return the labels of one prediction, of regions and tags."""
    return {
        label
        for item in result
        for name in ("labels", "choices")
        for label in item.get("value", {}).get(name, [])
    }
