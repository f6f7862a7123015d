"""Prometheus metrics of one API process, and the state of the database at the moment of scraping."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from backend.store.database import Database
from backend.store.events import pending_work
from backend.store.faults import fault_counts
from backend.store.tables import Annotation, Training, Version

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)


class ApiMetrics:
    """Counters and histograms of one app, in a registry of their own."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "earmark_requests", "HTTP requests", ["endpoint", "status"], registry=self.registry
        )
        self.latency = Histogram(
            "earmark_request_seconds",
            "Time to answer",
            ["endpoint"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self.tasks = Counter(
            "earmark_predicted_tasks", "Tasks predicted, by outcome", ["outcome"], registry=self.registry
        )
        self.webhooks = Counter("earmark_webhooks", "Webhooks stored", ["action"], registry=self.registry)
        self.registry.register(_DatabaseCollector(database))


class _DatabaseCollector(Collector):
    """Gauges read from the database, the same in every process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._database.read() as session:
            pending = pending_work(session)
            outcomes = session.execute(select(Training.outcome, func.count()).group_by(Training.outcome))
            trainings = {outcome: count for outcome, count in outcomes}
            annotations = session.scalar(
                select(func.count()).select_from(Annotation).where(Annotation.deleted.is_(False))
            )
            versions = session.scalars(select(Version).where(Version.active.is_(True))).all()
            faults = fault_counts(session)
        yield _gauge(
            "earmark_events_waiting", "Webhooks that no head knows of yet", sum(w.events for w in pending)
        )
        lag = max((time.time() - w.first_received_at for w in pending), default=0.0)
        yield _gauge("earmark_event_lag_seconds", "Age of the oldest waiting webhook", lag)
        yield _gauge("earmark_annotations", "Annotations held", annotations or 0)
        yield _labelled("earmark_trainings", "Trainings, by outcome", "outcome", trainings)
        yield _labelled("earmark_bad_sounds", "Sounds that cannot be heard, by reason", "reason", faults)
        quality = GaugeMetricFamily(
            "earmark_version_lwlrap",
            "Out-of-fold lwlrap of the active version",
            labels=["project", "version", "control"],
        )
        for version in versions:
            for control, values in version.metrics.items():
                if isinstance(values, dict) and isinstance(values.get("lwlrap"), float):
                    quality.add_metric([version.project_key, version.name, control], values["lwlrap"])
        yield quality


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
