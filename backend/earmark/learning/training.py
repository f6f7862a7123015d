"""Training pipeline from webhooks to a new version: apply, encode, score, fit, compare, register.

Safe to kill at any line and to run twice: until the one transaction that registers the version and
marks its webhooks as handled, everything is repeated by the next run.
"""

from __future__ import annotations

import time
import traceback

import structlog
from sqlalchemy.orm import Session

from earmark.errors import LabelConfigError, NotEnoughAnnotationsError, NotFiniteError
from earmark.labels.config_changes import config_digest, update_project
from earmark.learning.annotation_summary import summarized
from earmark.learning.awaited_sounds import await_sounds
from earmark.learning.correction_figures import figures_by_control
from earmark.learning.prequential import Scorer
from earmark.learning.synchronization import sync_if_due
from earmark.learning.training_digest import reason_to_skip, training_digest
from earmark.learning.training_set import (
    Candidate,
    TrainingSet,
    compare_with_active,
    fit_candidate,
    load_training_set,
    unmeasured,
)
from earmark.services import Services
from earmark.store.annotations import apply_event, count_annotations
from earmark.store.batched_writes import write_in_steps
from earmark.store.events import (
    ANNOTATION_ACTIONS,
    SOUNDS_FETCHED,
    START_TRAINING,
    is_training_requested,
    mark_handled,
    pending_events,
)
from earmark.store.models import Event, PredictionScore, Project, Training
from earmark.store.projects import remember_project
from earmark.store.registry import active_version, needs_version, register_version
from earmark.store.scores import add_scores, scored_annotations
from earmark.store.training_lease import Lease, LeaseLostError

log = structlog.get_logger(__name__)

LONGEST_RETRY_AFTER_DEATH_SECONDS = 60.0
"""Shorter than after other failures: a kill or restart of workers need not be the project's fault."""
MOST_DOUBLINGS = 30
"""Limit of the exponential backoff's exponent; beyond it the number gets too large."""
LONGEST_TRACEBACK = 20_000
"""Characters kept of a traceback: its end names the place."""
SCORED_BEFORE_SERVING = 32
"""Annotations that are scored in the transaction of their training. There are hardly ever more; if there
are, the others are scored afterwards, so that they do not delay the new version."""


def learn(services: Services, key: str) -> Training | None:
    """Train a project on everything that its pending webhooks changed.

    Returns
    -------
    The training, as stored; None when another process trains this project, or no webhook is pending.
    """
    lease = Lease(services.database, key, services.settings.train_lease_seconds)
    if not lease.acquire():
        return None
    try:
        with lease.heartbeat():
            return _learn(services, key, lease) if _may_retry(services, key, lease) else None
    except LeaseLostError:
        log.warning("training given up: another worker has taken over", project=key)
        return None
    finally:
        lease.release()


def needs_retraining(services: Services, key: str) -> bool:
    """Whether the project was trained, but never with the present encoder."""
    with services.database.read() as session:
        return needs_version(session, key, services.encoder_identity())


def learn_all(services: Services, key: str) -> None:
    """Train until no webhook is pending, for callers without a dispatcher.

    A caller that finds the project being trained leaves its webhook to the process that trains: that one
    checks again after releasing the lease, so no webhook is lost between the two.
    """
    while True:
        training = learn(services, key)
        with services.database.read() as session:
            waiting = pending_events(session, key)
        if not waiting or training is None:
            return


def _learn(services: Services, key: str, lease: Lease) -> Training | None:
    training = Training(project_key=key, started_at=time.time(), events=0, outcome="", detail="")
    training_set: TrainingSet | None = None
    candidate: Candidate | None = None
    scores: list[PredictionScore] = []
    digest = ""
    try:
        with services.database.read() as session:
            requested = is_training_requested(session, key)
        if requested:
            # A requested training includes annotations without a webhook, such as those of imports
            sync_if_due(services, key, requested=True)
        project, events, worthwhile = _apply_pending(services, key)
        training.events = len(events)
        new_encoder = needs_retraining(services, key)
        if not events and not new_encoder:
            return None
        if not (worthwhile or new_encoder):
            with services.database.write() as session:
                lease.renew_or_raise(session)
                mark_handled(session, events)
            return None
        try:
            training_set = load_training_set(services, project)
            scores = _scores(services, key, training_set, SCORED_BEFORE_SERVING)
            digest = training_digest(services, training_set)
            training.detail = reason_to_skip(services, key, training_set, digest)
            if training.detail:
                training.outcome = "unchanged"
            else:
                candidate = fit_candidate(services, training_set, services.serving_version(key))
        except (NotEnoughAnnotationsError, LabelConfigError) as error:
            training.outcome, training.detail = "nothing", str(error)
        except NotFiniteError as error:
            training.outcome, training.detail = "failed", str(error)
        while not _compare_and_store(
            services, lease, project, training, events, training_set, candidate, digest, scores
        ):
            log.info("active version changed during the training: compared again", project=key)
    except LeaseLostError:
        raise
    except Exception as error:
        training.traceback = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
        _store_failure(services, lease, training, f"{type(error).__name__}: {error}")
        raise
    getattr(log, {"rejected": "warning", "failed": "error"}.get(training.outcome, "info"))(
        "training ended",
        project=key,
        outcome=training.outcome,
        version=training.version,
        detail=training.detail,
        events=len(events),
        # The ids that were logged when these webhooks were stored.
        event_ids=(events[0].id, events[-1].id) if events else None,
        seconds=round(training.finished_at - training.started_at, 3),
    )
    if training_set is not None:
        remaining_scores = _scores(services, key, training_set, len(training_set.annotated))
        if remaining_scores:
            with services.database.write() as session:
                add_scores(session, key, remaining_scores)
    return training


def _apply_pending(services: Services, key: str) -> tuple[Project, list[Event], bool]:
    """Apply pending events to tasks, annotations and label config; and whether a head could change."""

    def apply(session: Session, event: Event) -> None:
        apply_event(session, event)
        update_project(session, event)

    with services.database.read() as session:
        events = pending_events(session, key)
    write_in_steps(services.database, events, apply)
    with services.database.read() as session:
        project = session.get_one(Project, key)
        worthwhile = any(
            event.action in ANNOTATION_ACTIONS or event.action in (START_TRAINING, SOUNDS_FETCHED)
            for event in events
        ) or (
            project.learnt_config != config_digest(project.label_config)
            and count_annotations(session, key) > 0
        )
    return project, events, worthwhile


def _compare_and_store(
    services: Services,
    lease: Lease,
    project: Project,
    training: Training,
    events: list[Event],
    training_set: TrainingSet | None,
    candidate: Candidate | None,
    digest: str,
    scores: list[PredictionScore],
) -> bool:
    """Compare the candidate, and store all results of the training in one transaction.

    A fit whose numbers are not finite gives no candidate, so no version: its training is stored as
    ``failed``, and the version before stays active. Its webhooks count as handled, unlike after other
    failures: equal annotations give equal numbers, and the next one must not wait for the backoff.

    Returns
    -------
    False, and nothing is stored, when another version became active while this one was compared.

    Raises
    ------
    LeaseLostError
        This process hung until another one took over its lease; nothing is stored.
    """
    key, encoder_identity = project.key, services.encoder_identity()
    activated = services.active_version(key)
    active, reason, unmeasured_reason = services.serving_for(activated), "", ""
    if training_set is not None and candidate is not None:
        comparison = compare_with_active(services, training_set, candidate, active)
        reason, unmeasured_reason = " ".join(comparison.reasons), unmeasured(services, comparison, active)
    with services.database.write() as session:
        lease.renew_or_raise(session)
        if candidate is not None and training_set is not None:
            active_now = active_version(session, key, encoder_identity)
            if (active_now and active_now.id) != (activated and activated.id):
                return False
            version = register_version(
                session,
                key,
                services.encoder().name,
                encoder_identity,
                candidate.fitted.head.to_bytes(),
                candidate.metrics,
                len(training_set.annotated),
                candidate.fitted.folds_to_bytes(),
                reason,
                digest,
                figures_by_control(candidate.corrections),
            )
            training.outcome, training.version = "rejected" if reason else "registered", version.name
            sentences = [reason or unmeasured_reason, *candidate.report.skipped.values()]
            training.detail = " ".join(sentence for sentence in sentences if sentence)
        add_scores(session, key, scores)
        mark_handled(session, events)
        row = remember_project(session, key)
        await_sounds(
            row, training, training_set.awaited if training_set else {}, services.settings.train_retry_seconds
        )
        row.failures, row.failed_at, row.retry_after = 0, 0.0, 0.0
        row.learnt_config = config_digest(project.label_config)
        if training_set is not None:
            row.annotated = summarized(training_set, events, row.annotated)
        if training.outcome in ("nothing", "failed") and needs_version(session, key, encoder_identity):
            row.failed_at = time.time()
            row.retry_after = row.failed_at + services.settings.train_longest_retry_seconds
        training.finished_at = time.time()
        session.add(training)
    return True


def _scores(services: Services, key: str, training_set: TrainingSet, most: int) -> list[PredictionScore]:
    """Score at most ``most`` of the annotations that were never scored, the oldest first."""
    with services.database.read() as session:
        scored_ids = scored_annotations(session, key)
    unscored = [
        annotated_sound
        for annotated_sound in training_set.annotated
        if annotated_sound.annotation.shown_at > 0
        and annotated_sound.annotation.annotation_id not in scored_ids
    ]
    return Scorer(services, key, training_set.controls, training_set.names).scores(unscored[:most])


def _may_retry(services: Services, key: str, lease: Lease) -> bool:
    """Whether to train now: not after repeated kills. Records that the last training was killed or hung.

    One kill may be an accident. After more in a row, for want of memory say, retries back off.
    """
    if not lease.taken_over:
        return True
    training = Training(project_key=key, started_at=time.time(), events=0, outcome="", detail="")
    reason = "The worker was killed in the middle of it (by want of memory, perhaps), or hung."
    return _store_failure(services, lease, training, reason, LONGEST_RETRY_AFTER_DEATH_SECONDS) == 1


def _store_failure(
    services: Services, lease: Lease, training: Training, reason: str, longest: float | None = None
) -> int:
    """Store a failure and its retry time (exponential backoff); return the number of failures in a row.

    The webhooks stay pending.

    Parameters
    ----------
    longest
        Longest pause in seconds; the setting's by default.

    Raises
    ------
    LeaseLostError
        Another worker has taken over the lease, and records the outcome itself.
    """
    with services.database.write() as session:
        lease.renew_or_raise(session)
        project = remember_project(session, training.project_key)
        settings = services.settings
        doubled = settings.train_retry_seconds * 2 ** min(project.failures, MOST_DOUBLINGS)
        delay = min(longest or settings.train_longest_retry_seconds, doubled)
        project.failures += 1
        project.failed_at = time.time()
        project.retry_after = project.failed_at + delay
        # PostgreSQL's text columns hold no NUL character
        training.outcome, training.detail = "failed", reason.replace("\x00", "\ufffd")
        training.traceback = (training.traceback or "").replace("\x00", "\ufffd")
        training.finished_at = time.time()
        session.add(training)
        failures = project.failures
    log.error(
        "training failed",
        project=training.project_key,
        detail=training.detail,
        retry_in_seconds=delay,
        failures=failures,
        exc_info=bool(training.traceback),
    )
    return failures
