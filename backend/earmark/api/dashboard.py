"""Dashboard at ``/``: status of each project, failures, and runs in progress."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape

from earmark import __version__
from earmark.errors import EarmarkError
from earmark.monitoring.project_statements import project_statements, task_address
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.monitoring.readiness import Readiness
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Version
from earmark.store.preannotations import run_progress, unfinished_runs
from earmark.store.registry import list_versions
from earmark.store.sound_errors import latest_faults

VERSIONS_SHOWN = 10
SOUNDS_SHOWN = 10
THREADS = 2
METRICS = {"lwlrap": "lwlrap", "map": "mAP", "f1": "F1", "accuracy": "accuracy", "ece": "calibration error"}
_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True
)


def dashboard_router(services: Services, readiness: Readiness) -> APIRouter:
    """Return the dashboard's route, bound to the services of this process."""
    router = APIRouter()
    threads = CapacityLimiter(THREADS)

    @router.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def dashboard() -> HTMLResponse:
        return HTMLResponse(await to_thread.run_sync(_page, services, readiness, limiter=threads))

    return router


def _page(services: Services, readiness: Readiness) -> str:
    try:
        identity: str | None = services.encoder_identity()
    except EarmarkError:
        identity = None  # readiness.faults() reports the error
    now = time.time()
    with services.database.read() as session:
        projects = []
        for state in project_states(session, identity, services.head):
            key = state.project.key
            runs = [(run.id, run_progress(session, run.id)) for run in unfinished_runs(session, key)]
            projects.append(
                {
                    **_project_fields(state, services.settings, now),
                    "runs": [{"id": n, "tasks": p.tasks, "done": p.tasks_done} for n, p in runs],
                    "versions": [
                        _version_fields(row, now, identity)
                        for row in list_versions(session, key, VERSIONS_SHOWN)
                    ],
                }
            )
        sounds = [
            {"detail": fault.detail, "when": ago(now - fault.seen_at)}
            for fault in latest_faults(session, SOUNDS_SHOWN)
        ]
    return _pages.get_template("dashboard.html").render(
        version=__version__,
        encoder=identity or "no encoder",
        faults=readiness.faults(),
        projects=projects,
        sounds=sounds,
    )


def _project_fields(state: ProjectState, settings: Settings, now: float) -> dict[str, Any]:
    project, training = state.project, state.training
    failed = training is not None and training.outcome == "failed"
    return {
        "key": project.key,
        "title": project.title,
        "active": state.active.name if state.active else "",
        "waiting": state.work.events if state.work else 0,
        "statements": [
            {
                "level": statement.level,
                "text": statement.text,
                "remedy": statement.remedy,
                "tasks": [(task, task_address(state, settings, task)) for task in statement.tasks],
            }
            for statement in project_statements(state, settings, now)
        ],
        "failures": project.failures,
        "traceback": (training.traceback or training.detail) if training and failed else "",
        "synced": ago(now - project.synced_at) if project.synced_at else "",
    }


def _version_fields(version: Version, now: float, identity: str | None) -> dict[str, Any]:
    return {
        "name": version.name,
        "active": version.answers(identity),
        "reason": version.reason,
        "annotations": version.annotations,
        "figures": _metric_lines(version.metrics),
        "when": ago(now - version.created_at),
    }


def _metric_lines(metrics: dict[str, Any]) -> list[str]:
    """Return one line of metrics for each control that was measured."""
    lines = []
    for control, values in metrics.items():
        figures = [
            f"{name} {values[key]:.2f}"
            for key, name in METRICS.items()
            if isinstance(values, dict) and isinstance(values.get(key), float) and math.isfinite(values[key])
        ]
        if figures:
            lines.append(f"{control}: {', '.join(figures)}")
    return lines


def ago(seconds: float) -> str:
    """Format an age in seconds as "3 h ago", in the largest unit that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
