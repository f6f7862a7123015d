"""The way from webhooks to a new version: apply, hear, fit, register.

Safe to be killed at any line and to be run twice: until the one transaction that registers the
version and marks its webhooks as handled, everything is repeated by the next run.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import EarmarkError, LabelConfigError, NotEnoughAnnotationsError
from backend.head.examples import AnnotatedClip
from backend.head.fit import fit_head
from backend.jobs.queue import LEASE_SECONDS
from backend.labelstudio.config import Control, parse_label_config
from backend.labelstudio.results import read_result
from backend.prediction import Predictor
from backend.services import Services
from backend.store.annotations import apply_event, live_annotations
from backend.store.events import ANNOTATION_ACTIONS, START_TRAINING, mark_handled, pending_events
from backend.store.projects import acquire_lease, release_lease, remember_project
from backend.store.registry import needs_version, register_version
from backend.store.tables import Annotation, Event, Project, Task, Training

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = LEASE_SECONDS / 4
FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 600.0
GROUND_TRUTH_WEIGHT = 2.0
"""A ground-truth annotation counts as much as two others."""


def learn(services: Services, key: str) -> Training | None:
    """Train a project on everything that its waiting webhooks changed.

    Returns
    -------
    What came of it, as stored; None when another process trains this project, or nothing waits.
    """
    owner = uuid.uuid4().hex
    with services.database.write() as session:
        remember_project(session, key)
        if not acquire_lease(session, key, owner, LEASE_SECONDS):
            return None
    try:
        with _heartbeat(services, key, owner):
            return _learn(services, key)
    finally:
        with services.database.write() as session:
            release_lease(session, key, owner)


def needs_training_anew(services: Services, key: str) -> bool:
    """Whether the project was trained, but never with the encoder that hears now."""
    with services.database.read() as session:
        return needs_version(session, key, services.encoder_identity())


def learn_all(services: Services, key: str) -> None:
    """Train until nothing waits, for callers without a dispatcher.

    One that finds the project being trained leaves its webhook to the one who trains: that one
    looks again after giving the lease back, so the webhook cannot slip between the two.
    """
    while True:
        training = learn(services, key)
        with services.database.read() as session:
            waiting = pending_events(session, key)
        if not waiting or training is None:
            return


def _learn(services: Services, key: str) -> Training | None:
    started_at = time.time()
    project, events, worthwhile = _apply_pending(services, key)
    new_encoder = needs_training_anew(services, key)
    if not events and not new_encoder:
        return None
    training = Training(project_key=key, started_at=started_at, events=len(events), outcome="", detail="")
    up_to = events[-1].id if events else 0
    if not (worthwhile or new_encoder):
        with services.database.write() as session:
            mark_handled(session, key, up_to)
        return None
    try:
        controls = parse_label_config(project.label_config)
        with services.database.read() as session:
            annotations = live_annotations(session, key)
        clips = _hear_clips(services, project, controls, annotations)
        encoder = services.encoder()
        prior = services.zero_label_head(controls)
        head, report = fit_head(encoder.pool, encoder.frame_rate, encoder.identity, controls, clips, prior)
    except (NotEnoughAnnotationsError, LabelConfigError) as error:
        training.outcome, training.detail = "nothing", str(error)
    except Exception as error:
        _put_off(services, training, error)
        raise
    with services.database.write() as session:
        if not training.outcome:
            version = register_version(
                session,
                key,
                encoder.name,
                encoder.identity,
                head.to_bytes(),
                {name: control.metrics for name, control in report.controls.items()},
                len(annotations),
            )
            training.outcome, training.version = "registered", version.name
            training.detail = " ".join(report.skipped.values())
        mark_handled(session, key, up_to)
        row = remember_project(session, key)
        row.failures = 0
        if new_encoder and training.outcome == "nothing":
            row.retry_after = time.time() + LONGEST_RETRY_SECONDS
        training.finished_at = time.time()
        session.add(training)
    log.info(
        "training ended",
        project=key,
        outcome=training.outcome,
        version=training.version,
        detail=training.detail,
        events=len(events),
        seconds=round(training.finished_at - started_at, 3),
    )
    return training


def _apply_pending(services: Services, key: str) -> tuple[Project, list[Event], bool]:
    """Bring tasks, annotations and label config up to date; tell whether a head could change."""
    with services.database.write() as session:
        project = remember_project(session, key)
        before = project.label_config
        events = pending_events(session, key)
        for event in events:
            apply_event(session, event)
            sent = event.payload.get("project")
            if isinstance(sent, dict):
                remember_project(session, key, label_config=sent.get("label_config"), title=sent.get("title"))
        worthwhile = project.label_config != before or any(
            event.action in ANNOTATION_ACTIONS or event.action == START_TRAINING for event in events
        )
    return project, events, worthwhile


def _hear_clips(
    services: Services,
    project: Project,
    controls: tuple[Control, ...],
    annotations: list[tuple[Annotation, Task]],
) -> list[AnnotatedClip]:
    """One clip for each annotation and sound; what cannot be heard is logged and left out."""
    predictor = Predictor(services)
    annotators = Counter(task.task_id for _, task in annotations)
    clips = []
    for annotation, task in annotations:
        read = read_result(annotation.result, controls)
        weight = GROUND_TRUTH_WEIGHT if annotation.ground_truth else 1.0
        for data_key in dict.fromkeys(control.data_key for control in controls):
            try:
                sound = predictor.hear({"id": task.task_id, "data": task.data}, data_key, project)
            except EarmarkError as error:
                log.warning("annotation left out", task=task.task_id, reason=error.reason, detail=str(error))
                continue
            names = {control.name for control in controls if control.data_key == data_key}
            regions = {name: found for name, found in read.regions.items() if name in names}
            tags = {name: labels for name, labels in read.tags.items() if name in names}
            # The content is the group: copies of one recording never stand on both sides of a fold.
            clips.append(
                AnnotatedClip(
                    frames=sound.frames,
                    duration=sound.duration,
                    group=sound.digest,
                    weight=weight / annotators[task.task_id],
                    regions=regions,
                    tags=tags,
                )
            )
    return clips


def _put_off(services: Services, training: Training, error: Exception) -> None:
    """Store a failure and when to try again; the webhooks go on waiting."""
    with services.database.write() as session:
        project = remember_project(session, training.project_key)
        delay = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**project.failures)
        project.failures += 1
        project.retry_after = time.time() + delay
        training.outcome, training.detail = "failed", f"{type(error).__name__}: {error}"
        training.finished_at = time.time()
        session.add(training)
    log.error("training failed", project=training.project_key, retry_in_seconds=delay, exc_info=error)


@contextmanager
def _heartbeat(services: Services, key: str, owner: str) -> Iterator[None]:
    """Prolong the lease while the block runs."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_SECONDS):
            try:
                with services.database.write() as session:
                    acquire_lease(session, key, owner, LEASE_SECONDS)
            except SQLAlchemyError as error:
                log.warning("lease not prolonged", project=key, error=str(error))

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
