"""Prometheus metrics: counters of this process, and gauges read from database and Redis at each scrape.

Gauges from the database are the same in every API process and must not be summed over them. Where a process
manager runs several processes behind one port, set ``PROMETHEUS_MULTIPROC_DIR`` to an empty folder before
they start: then each of them returns the counts of all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import connect
from earmark.settings import Settings
from earmark.store.database import Database
from earmark.store.events import pending_work
from earmark.store.models import Annotation, Training, Version
from earmark.store.sound_errors import fault_counts

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)
REDIS_SECONDS = 1.0
SIZES_SECONDS = 60.0
"""Age at which cached folder sizes are measured again."""
FIRST_SIZES_SECONDS = 0.5


class ApiMetrics:
    """Counters and histograms of one application, in a separate registry."""

    def __init__(self, settings: Settings, database: Database) -> None:
        registry = CollectorRegistry()
        self.requests = Counter(
            "earmark_requests", "HTTP requests", ["endpoint", "status"], registry=registry
        )
        self.latency = Histogram(
            "earmark_request_duration_seconds",
            "Time to answer",
            ["endpoint"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self.tasks = Counter(
            "earmark_predicted_tasks", "Tasks predicted, by outcome", ["outcome"], registry=registry
        )
        self.webhooks = Counter("earmark_webhooks", "Webhooks stored", ["action"], registry=registry)
        self._registry = registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        self._registry.register(_StateCollector(settings, database))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format.

        Raises
        ------
        SQLAlchemyError
            The database does not answer.
        """
        return generate_latest(self._registry)


class _StateCollector(Collector):
    """Gauges read at each scrape."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._sizes = FolderSizes(
            {name: settings.data_dir / name for name in ("frames", "sounds", "weights")}
        )

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._database_state()
        yield from self._queue_state()
        sizes = dict(self._sizes.read())
        sqlite = self._database.url.database
        if self._database.url.get_backend_name() == "sqlite" and sqlite:
            files = (Path(sqlite + suffix) for suffix in ("", "-wal"))
            sizes["database"] = sum(file.stat().st_size for file in files if file.is_file())
        yield _labelled("earmark_store_bytes", "Bytes kept in the data folder, by store", "store", sizes)

    def _database_state(self) -> Iterator[Metric]:
        with self._database.read() as session:
            pending = pending_work(session)
            outcomes = session.execute(select(Training.outcome, func.count()).group_by(Training.outcome))
            trainings = CounterMetricFamily("earmark_trainings", "Trainings, by outcome", labels=["outcome"])
            for outcome, count in outcomes:
                trainings.add_metric([outcome], count)
            annotations = session.scalar(
                select(func.count()).select_from(Annotation).where(Annotation.deleted.is_(False))
            )
            versions = session.scalars(select(Version).where(Version.active.is_(True))).all()
            faults = fault_counts(session)
        yield _gauge(
            "earmark_events_waiting",
            "Webhooks that no training has handled yet",
            sum(w.events for w in pending),
        )
        lag = max((time.time() - w.first_received_at for w in pending), default=0.0)
        yield _gauge("earmark_event_lag_seconds", "Age of the oldest waiting webhook", max(0.0, lag))
        yield _gauge("earmark_annotations", "Annotations held", annotations or 0)
        yield trainings
        yield _labelled("earmark_bad_sounds", "Sounds that cannot be read, by reason", "reason", faults)
        # No version among the labels: each training would add new time series.
        number = GaugeMetricFamily(
            "earmark_active_version_number",
            "Number of the version that answers",
            labels=["project", "encoder"],
        )
        quality = GaugeMetricFamily(
            "earmark_active_version_lwlrap",
            "Out-of-fold lwlrap of the version that answers",
            labels=["project", "encoder", "control"],
        )
        for version in versions:
            number.add_metric([version.project_key, version.encoder], version.number)
            for control, values in version.metrics.items():
                if isinstance(values, dict) and isinstance(values.get("lwlrap"), float):
                    quality.add_metric([version.project_key, version.encoder, control], values["lwlrap"])
        yield number
        yield quality

    def _queue_state(self) -> Iterator[Metric]:
        """Yield queue and worker gauges, and whether Redis answers."""
        connection = connect(self._settings, answer_seconds=REDIS_SECONDS)
        try:
            queues = {kind.value: job_queue(connection, kind) for kind in QueueKind}
            waiting = {kind: queue.count for kind, queue in queues.items()}
            workers = {kind: live_workers(queue) for kind, queue in queues.items()}
        except redis.RedisError:
            yield _gauge("earmark_redis_up", "1 where Redis answers", 0)
            return
        finally:
            connection.close()
        yield _gauge("earmark_redis_up", "1 where Redis answers", 1)
        yield _labelled("earmark_queue_jobs", "Jobs that wait for a worker", "queue", waiting)
        yield _labelled("earmark_workers", "Workers that showed themselves lately", "queue", workers)


class FolderSizes:
    """Sizes of folders in bytes, measured in the background and cached between scrapes."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders
        self._sizes: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._counted_at = -SIZES_SECONDS

    def read(self) -> dict[str, int]:
        """Return bytes by name, without folders that were not measured yet."""
        running = self._thread is not None and self._thread.is_alive()
        if not running and time.monotonic() - self._counted_at >= SIZES_SECONDS:
            self._counted_at = time.monotonic()
            self._thread = threading.Thread(target=self._count, name="sizes", daemon=True)
            self._thread.start()
            if not self._sizes:
                self._thread.join(FIRST_SIZES_SECONDS)
        return self._sizes

    def _count(self) -> None:
        self._sizes = {name: _folder_bytes(folder) for name, folder in self._folders.items()}


def _folder_bytes(folder: Path) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += _folder_bytes(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return total  # never created, or deleted meanwhile
    return total


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
