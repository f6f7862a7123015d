"""Database tables (SQLAlchemy models). Times are seconds since the epoch, UTC.

Nothing here depends on Redis: pending work is read from these rows alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Shared metadata with predictable constraint names, which migrations need."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Project(Base):
    """One Label Studio project, by the key ``<id>.<created, epoch seconds>`` that it sends.

    The id alone would not do: two Label Studios both have a project 1.
    """

    __tablename__ = "projects"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    label_config: Mapped[str] = mapped_column(Text, default="")
    label_config_at: Mapped[float] = mapped_column(default=0.0)
    """When that label config was last received; one received earlier changes nothing."""
    changed_at: Mapped[float] = mapped_column(default=0.0)
    """The project's ``updated_at`` then, by Label Studio's clock; one with an earlier time is ignored."""
    learnt_config: Mapped[str] = mapped_column(String(64), default="")
    """Digest of the label config of the last training."""
    annotated: Mapped[dict[str, Any] | None]
    """Summary of the annotations at the last training: see ``earmark.learning.annotation_summary``."""
    title: Mapped[str] = mapped_column(Text, default="")
    hostname: Mapped[str] = mapped_column(Text, default="")
    access_token: Mapped[str] = mapped_column(Text, default="")
    data_login: Mapped[str] = mapped_column(Text, default="")
    """User and password for the servers of its sounds, encrypted; see `earmark.store.access`."""
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[int] = mapped_column(default=0)
    """Trainings that failed in a row."""
    failed_at: Mapped[float] = mapped_column(default=0.0)
    """When the last of them did."""
    retry_after: Mapped[float] = mapped_column(default=0.0)
    refreshed_version: Mapped[str] = mapped_column(String(128), default="")
    """Version whose predictions were last written to the open tasks in Label Studio."""
    shown_version: Mapped[str] = mapped_column(String(128), default="")
    """Version whose predictions were last written to the tasks served next, and whose name is shown."""
    refresh_after: Mapped[float] = mapped_column(default=0.0)
    """A refresh that failed is not tried again before this time."""
    synced_at: Mapped[float] = mapped_column(default=0.0)
    """When the project was last compared with Label Studio; 0 before the first time."""
    sync_after: Mapped[float] = mapped_column(default=0.0)
    """A comparison that failed, or took long, is not repeated before this time."""
    assist: Mapped[bool] = mapped_column(default=True)
    """Whether regions that are drawn in the editor get suggestions."""
    sync_seconds: Mapped[float] = mapped_column(default=0.0)
    """How long the last comparison took; 0 where it failed, or was never made."""

    sounds_awaited: Mapped[list[Any] | None]
    """Tasks that the last training left out because their sounds did not arrive in time."""
    fetch_after: Mapped[float] = mapped_column(default=0.0)
    """They are not fetched again before this time."""
    offered_hostname: Mapped[str] = mapped_column(Text, default="")
    """Another address that a request gave for this project's Label Studio, not confirmed yet."""
    offered_token: Mapped[str] = mapped_column(Text, default="")
    """The token sent with it."""
    offered_at: Mapped[float] = mapped_column(default=0.0)
    offer_asked_at: Mapped[float] = mapped_column(default=0.0)
    """When the present Label Studio was last asked about it."""
    gone_at: Mapped[float] = mapped_column(default=0.0)
    """When Label Studio was first seen to have the project no longer; 0 while it has it."""

    def clear_gone(self) -> None:
        """Clear ``gone_at`` and the pause that it caused: Label Studio has sent something of the project."""
        if self.gone_at:
            self.gone_at = self.sync_after = 0.0

    @property
    def project_id(self) -> int:
        """Label Studio's own number of the project."""
        return int(self.key.partition(".")[0])


class Event(Base):
    """One webhook, as received. ``handled_at`` is set when a training that includes it has ended."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_pending", "handled_at", "project_key"),
        Index("ix_events_received", "project_key", "received_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    received_at: Mapped[float]
    handled_at: Mapped[float | None]


class Task(Base):
    """A task that appeared in a webhook or a synchronization."""

    __tablename__ = "tasks"

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]]
    deleted: Mapped[bool] = mapped_column(default=False)
    deleted_at: Mapped[float] = mapped_column(default=0.0)
    """When the deletion was received, on our own clock."""


class Annotation(Base):
    """The latest known state of an annotation; deleted ones stay as tombstones.

    The tombstone keeps a late ``ANNOTATION_CREATED`` from restoring it.
    """

    __tablename__ = "annotations"
    __table_args__ = (Index("ix_annotations_task", "project_key", "task_id", "deleted", "was_cancelled"),)

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    result: Mapped[list[Any]]
    was_cancelled: Mapped[bool] = mapped_column(default=False)
    ground_truth: Mapped[bool] = mapped_column(default=False)
    reviewed: Mapped[bool] = mapped_column(default=False)
    """A reviewer accepted it (Label Studio Enterprise)."""
    completed_by: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[float] = mapped_column(default=0.0)
    """Label Studio's own clock, which orders updates that arrive out of order."""
    deleted: Mapped[bool] = mapped_column(default=False)
    deleted_at: Mapped[float] = mapped_column(default=0.0)
    """When the deletion was received, on our own clock."""
    shown_at: Mapped[float] = mapped_column(default=0.0)
    """When its annotator was shown a prediction; 0 where that is unknown or none was shown."""
    shown: Mapped[dict[str, Any] | None]
    """That prediction, where the webhook carried it: ``version``, ``result`` and ``source``."""
    worked_on: Mapped[bool] = mapped_column(default=False)
    """An annotator saved it again after it arrived, so that an import's trust no longer applies."""
    cleared: Mapped[list[Any] | None]
    """Controls whose shown tags the annotator removed; None where that was not determined."""


class Version(Base):
    """A trained version. One active version for each project and encoder identity."""

    __tablename__ = "versions"
    __table_args__ = (
        Index("uq_versions_number", "project_key", "number", unique=True),
        Index("ix_versions_active", "project_key", "active"),  # queried at every prediction
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64))
    encoder: Mapped[str] = mapped_column(String(128))
    number: Mapped[int]
    name: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(64), default="")
    """Digest of its training data: see ``learning.training_digest``. Empty in earlier releases' versions."""
    metrics: Mapped[dict[str, Any]]
    correction: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """By control, what correcting its suggestions costs, out of fold: `Correction.figures`."""
    annotations: Mapped[int]
    created_at: Mapped[float]
    active: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(String(16), default="accepted")
    """``accepted``, or ``rejected``: measured worse than the one that was active, and not served."""
    reason: Mapped[str] = mapped_column(Text, default="")
    """Why it was rejected."""

    def answers(self, encoder_identity: str | None) -> bool:
        """Whether it is the active version of an encoder; of its own, where ``encoder_identity`` is None."""
        return self.active and encoder_identity in (None, self.encoder)


class VersionHead(Base):
    """The arrays of a version, apart from its figures: SQLite reads past a large value page by page.

    The head of a version without such a row was deleted: see ``earmark.store.retention``.
    """

    __tablename__ = "version_heads"

    version_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    head_bytes: Mapped[int] = mapped_column(BigInteger)
    fold_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    head: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    folds: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """Fold heads, to measure it again; None where they were deleted, or never stored."""


class Activation(Base):
    """Log of activations of versions; append-only."""

    __tablename__ = "activations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    encoder: Mapped[str] = mapped_column(String(128))
    version_id: Mapped[int]
    activated_at: Mapped[float]
    cause: Mapped[str] = mapped_column(String(16))
    """``trained``, ``promoted`` or ``rolled back``."""


class PredictionWrite(Base):
    """The prediction last written for a task in Label Studio, for deduplication."""

    __tablename__ = "prediction_writes"
    __table_args__ = (
        Index("ix_prediction_writes_duplicated", "duplicated", "project_key"),
        Index("ix_prediction_writes_score", "project_key", "score"),
    )

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    version: Mapped[str] = mapped_column(String(128))
    written_at: Mapped[float] = mapped_column(default=0.0)
    """When a worker claimed the task, to write the prediction itself; 0 if none did."""
    answered_at: Mapped[float] = mapped_column(default=0.0)
    """When ``/predict`` last returned it, which Label Studio then stores; 0 if never."""
    duplicated: Mapped[bool] = mapped_column(default=False)
    """The task may hold more than one prediction of ours: see ``earmark.prediction.deduplication``."""
    score: Mapped[float | None]
    """Its certainty in [0, 1]; None where an earlier release wrote it."""


class LabelRename(Base):
    """A renamed label, in the order of detection."""

    __tablename__ = "label_renames"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    control: Mapped[str] = mapped_column(Text)
    old: Mapped[str] = mapped_column(Text)
    new: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[float]


class PredictionScore(Base):
    """Score of an annotation against the prediction that was shown for it; computed once."""

    __tablename__ = "prediction_scores"
    __table_args__ = (
        Index("ix_prediction_scores_task", "project_key", "task_id"),
        Index("ix_prediction_scores_changed", "project_key", "changed", "shown_at"),
    )

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[int] = mapped_column(BigInteger)
    annotator: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(16))
    """``payload``, ``task`` (in both Label Studio sent it) or ``computed`` by the version of that time."""
    shown_at: Mapped[float]
    scored_at: Mapped[float]
    distances: Mapped[dict[str, Any]]
    """By control: see ``earmark.learning.segment_metrics``."""
    changed: Mapped[bool] = mapped_column(default=False)
    """The annotator submitted something else than was shown."""
    seconds_open: Mapped[float] = mapped_column(default=0.0)
    """From opening the task to submitting it; 0 where that is unknown."""
    predicted: Mapped[dict[str, Any] | None]
    """What was shown: see ``earmark.learning.shown_results``; None where an earlier release scored it."""


class VersionOutcome(Base):
    """What annotators made of a version's predictions: sums over its `PredictionScore` rows.

    A task that was annotated before with another version's prediction is left out, as that version may have
    been trained on it. Kept up with each new score, so that no page adds up all of them.
    """

    __tablename__ = "version_outcomes"

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(128), primary_key=True)
    annotations: Mapped[int] = mapped_column(default=0)
    suggested: Mapped[int] = mapped_column(default=0)
    accepted: Mapped[int] = mapped_column(default=0)
    """Of the suggestions, those that were submitted unchanged."""
    last_shown_at: Mapped[float] = mapped_column(default=0.0)
    edges: Mapped[dict[str, Any]]
    """Distances of edges in ms, as text with two significant digits, to their number."""
    labels: Mapped[dict[str, Any]]
    """For each control and label ``found``, ``missed`` and ``extra``, in seconds or numbers of tags."""
    confused: Mapped[list[Any]]
    """``[control, submitted label, shown label, seconds or number]``."""


class Training(Base):
    """One run of the training job, of any outcome."""

    __tablename__ = "trainings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    started_at: Mapped[float]
    finished_at: Mapped[float]
    outcome: Mapped[str] = mapped_column(String(16))
    """``registered``, ``rejected`` (registered and not served), ``nothing`` (too little to learn from),
    ``unchanged`` (nothing new to learn from) or ``failed``."""
    detail: Mapped[str] = mapped_column(Text, default="")
    traceback: Mapped[str] = mapped_column(Text, default="", server_default="")
    """Traceback of a failed run."""
    version: Mapped[str | None] = mapped_column(String(128))
    events: Mapped[int] = mapped_column(default=0)
    """Number of webhooks that this training handled."""


class SoundFault(Base):
    """A sound that could not be loaded or decoded, or has more regions than are shown, and why."""

    __tablename__ = "sound_faults"
    __table_args__ = (Index("ix_sound_faults_project", "project_key", "seen_at"),)

    address: Mapped[str] = mapped_column(String(1024), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[float]
    project_key: Mapped[str | None] = mapped_column(String(64))
    """Project and task that pointed to it last, where they are known."""
    task_id: Mapped[int | None] = mapped_column(BigInteger)


class Preannotation(Base):
    """A run of bulk predictions over many tasks, which all workers share."""

    __tablename__ = "preannotations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    selection: Mapped[str] = mapped_column(String(16))
    """Which tasks: see ``earmark.prediction.bulk_plan``."""
    version: Mapped[str] = mapped_column(String(128))
    """Version that was active when the run was created; each chunk uses the one active at its own time."""
    created_at: Mapped[float]
    cancelled_at: Mapped[float | None]


class PreannotationChunk(Base):
    """Chunk of a run's tasks, leased by one worker at a time."""

    __tablename__ = "preannotation_chunks"

    run_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tasks: Mapped[list[Any]]
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    done_at: Mapped[float | None]
    predicted: Mapped[int] = mapped_column(default=0)
    labels: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """How many of its tasks carry each label."""
    failed: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """By task the reason why it has no prediction, a sentence."""
