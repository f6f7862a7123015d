"""The tables. Times are seconds since the epoch, UTC.

Nothing here is derived from Redis: what is to be done is read from these rows alone.
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
    title: Mapped[str] = mapped_column(Text, default="")
    hostname: Mapped[str] = mapped_column(Text, default="")
    access_token: Mapped[str] = mapped_column(Text, default="")
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float] = mapped_column(default=0.0)
    failures: Mapped[int] = mapped_column(default=0)
    """Trainings that failed in a row."""
    retry_after: Mapped[float] = mapped_column(default=0.0)
    refreshed_version: Mapped[str] = mapped_column(String(128), default="")
    """Version whose predictions Label Studio's open tasks were last given."""
    refresh_after: Mapped[float] = mapped_column(default=0.0)
    """A refresh that failed is not tried again before this time."""

    @property
    def project_id(self) -> int:
        """Label Studio's own number of the project."""
        return int(self.key.partition(".")[0])


class Event(Base):
    """One webhook, as it came. ``handled_at`` is set when a head that knows of it was decided on."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_pending", "handled_at", "project_key"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    received_at: Mapped[float]
    handled_at: Mapped[float | None]


class Task(Base):
    """A task that annotations or webhooks spoke of."""

    __tablename__ = "tasks"

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]]
    deleted: Mapped[bool] = mapped_column(default=False)


class Annotation(Base):
    """The latest known state of an annotation; deleted ones stay as markers.

    The marker keeps a late ``ANNOTATION_CREATED`` from raising the dead.
    """

    __tablename__ = "annotations"

    project_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[int | None] = mapped_column(BigInteger)
    result: Mapped[list[Any]]
    was_cancelled: Mapped[bool] = mapped_column(default=False)
    ground_truth: Mapped[bool] = mapped_column(default=False)
    completed_by: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[float] = mapped_column(default=0.0)
    """Label Studio's own clock, which orders updates that arrive out of order."""
    deleted: Mapped[bool] = mapped_column(default=False)


class Version(Base):
    """A trained head. One active version for each project and encoder identity."""

    __tablename__ = "versions"
    __table_args__ = (Index("uq_versions_number", "project_key", "number", unique=True),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64))
    encoder: Mapped[str] = mapped_column(String(128))
    number: Mapped[int]
    name: Mapped[str] = mapped_column(String(128))
    head: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    metrics: Mapped[dict[str, Any]]
    annotations: Mapped[int]
    created_at: Mapped[float]
    active: Mapped[bool] = mapped_column(default=False)


class Training(Base):
    """One run of the learning job, whatever came of it."""

    __tablename__ = "trainings"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    project_key: Mapped[str] = mapped_column(String(64), index=True)
    started_at: Mapped[float]
    finished_at: Mapped[float]
    outcome: Mapped[str] = mapped_column(String(16))
    """``registered``, ``nothing`` (too little to learn from) or ``failed``."""
    detail: Mapped[str] = mapped_column(Text, default="")
    version: Mapped[str | None] = mapped_column(String(128))
    events: Mapped[int] = mapped_column(default=0)
    """Webhooks that this training answers."""


class SoundFault(Base):
    """A sound that could not be heard, for the doctor and the metrics; the latest reason wins."""

    __tablename__ = "sound_faults"

    address: Mapped[str] = mapped_column(String(1024), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[float]
