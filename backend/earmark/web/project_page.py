"""The page of a project, and the overview of all: everything that their templates show."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from earmark.errors import EarmarkError
from earmark.labels.label_colours import label_colours
from earmark.monitoring.project_statements import project_address
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.pages.environment import percent
from earmark.services import Services
from earmark.store.models import Project, VersionOutcome
from earmark.store.outcomes import edge_moves, latest_outcomes
from earmark.store.page_queries import latest_activations
from earmark.store.preannotations import run_progress, unfinished_runs
from earmark.store.registry import versions_with_heads
from earmark.web.changes import change_token
from earmark.web.classes import class_rows, confusions
from earmark.web.corrections import correction_rows, time_saved
from earmark.web.curve import accepted_lately, curve_data, curve_sentence
from earmark.web.results import Colours
from earmark.web.rows import ListContext
from earmark.web.summary import summary
from earmark.web.version_points import MEASURED_FROM, VersionPoint, VersionPoints
from earmark.web.work_lists import fill

VERSIONS_SHOWN, OLDER_SHOWN = 5, 40
CORRECTIONS_SHOWN = 8
RECENT_OUTCOMES = 20
"""Versions whose corrections count for false alarms and confusions."""
ACTIVATIONS_SHOWN = 8


@dataclass(frozen=True)
class Pages:
    """Reads what pages show, with what a process keeps between them."""

    services: Services
    points: VersionPoints = field(default_factory=VersionPoints)

    def identity(self) -> str | None:
        """Return the identity of the encoder; None where it cannot be had, which readiness reports."""
        try:
            return self.services.encoder_identity()
        except EarmarkError:
            return None

    def project(self, key: str, faults: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what the page of a project shows; None where no such project has connected.

        ``faults``: what is not ready in this backend, by part.
        """
        services, identity = self.services, self.identity()
        with services.database.read() as session:
            token = change_token(session, key, faults)
            states = project_states(session, identity, services.head, key)
            if not states:
                return None
            (state,) = states
            points = self.points.read(session, key, identity)
            trained = [point for point in reversed(points) if point.number]
            context = ListContext(session, state, services.settings, colours_of(state))
            with_heads = versions_with_heads(session, key)
            return {
                **self._standing(session, state, points, faults),
                "address": project_address(state, services.settings),
                "token": token,
                "now": time.time(),
                "curve": curve_data(points),
                "curve_sentence": curve_sentence(points),
                "versions": trained[:VERSIONS_SHOWN],
                "older_versions": trained[VERSIONS_SHOWN : VERSIONS_SHOWN + OLDER_SHOWN],
                "promotable": {p.id for p in points if p.id in with_heads and identity in (None, p.encoder)},
                "version_count": len(trained),
                "activations": latest_activations(session, key, ACTIVATIONS_SHOWN),
                "corrections": correction_rows(context, CORRECTIONS_SHOWN),
                "time_saved": time_saved(context),
                "lists": fill(context),
            }

    def overview(self, faults: Mapping[str, str]) -> dict[str, Any]:
        """Return what the overview shows; ``faults``: what is not ready in this backend, by part."""
        services, identity = self.services, self.identity()
        with services.database.read() as session:
            return {
                "token": change_token(session, None, faults),
                "projects": [
                    self._standing(session, state, self.points.read(session, state.project.key, identity), {})
                    for state in project_states(session, identity, services.head)
                ],
                "faults": faults,
                "encoder": identity or "no encoder",
            }

    def _standing(
        self,
        session: Session,
        state: ProjectState,
        points: Sequence[VersionPoint],
        faults: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return how a project stands: what its own page and the overview both show."""
        key = state.project.key
        outcomes = latest_outcomes(session, key, RECENT_OUTCOMES)
        rows = class_rows(state, points, outcomes)
        confused = confusions(state, outcomes)
        runs = {run.id: run_progress(session, run.id) for run in unfinished_runs(session, key)}
        return {
            "key": key,
            "title": title_of(state),
            "answering": answering_name(state, points),
            "summary": summary(state, self.services.settings, rows, confused, runs, faults),
            "figures": headline_figures(state, points, outcomes),
            "classes": rows,
            "measured_from": MEASURED_FROM,
        }


def answering_name(state: ProjectState, points: Sequence[VersionPoint]) -> str:
    """Return the name of the version that answers: of the untrained one if it was shown; else empty."""
    if state.active is not None:
        return state.active.name
    return next((point.name for point in points if not point.number), "")


def headline_figures(
    state: ProjectState, points: Sequence[VersionPoint], outcomes: Sequence[VersionOutcome]
) -> list[tuple[str, str, str]]:
    """Return the figures at the top: value, name, and what the name means."""
    active = next((point for point in points if point.state == "active"), None)
    edges: Counter[str] = Counter()
    for outcome in outcomes:
        edges.update(outcome.edges)
    moves = edge_moves(edges)
    distance = (
        "" if moves.seconds is None else f"; half of the moved ones by {1000 * moves.seconds:.0f} ms or more"
    )
    quality = active.measured.quality if active else None
    effort = active.measured.effort if active else None
    figures = [
        (
            f"{state.annotations:,}",
            "annotations",
            "Submitted in Label Studio, without those that were skipped.",
        ),
        (
            percent(accepted_lately(points)),
            "accepted as suggested",
            "Share of the last suggestions, regions and tags, that annotators submitted unchanged.",
        ),
        (
            percent(moves.share),
            "edges moved",
            f"Share of the starts and ends of suggested regions that annotators moved lately{distance}.",
        ),
        (
            percent(quality),
            "quality",
            "F1 of the version that answers, on recordings that were left out of its training: 100 % finds "
            "everything and nothing else.",
        ),
    ]
    if effort is not None:
        meaning = "Effort of correcting its suggestions, on recordings left out; annotating by hand is 100 %."
        figures.append((percent(effort), "work left", meaning))
    return figures


def colours_of(state: ProjectState) -> Colours:
    """Return the colours of a project's labels."""
    labels = (label for control in state.controls for label in control.labels)
    return Colours.of(labels, label_colours(state.project.label_config))


def title_of(state: ProjectState) -> str:
    """Return a project's title."""
    return project_title(state.project)


def project_title(project: Project) -> str:
    """Return a project's title; its number without one."""
    return project.title or f"Project {project.project_id}"


def find_title(services: Services, key: str) -> str:
    """Return the title of the project with a key; empty where none has connected."""
    with services.database.read() as session:
        project = session.get(Project, key)
    return project_title(project) if project is not None else ""
