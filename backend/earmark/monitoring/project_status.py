"""Project status: the version that answers, the last training's outcome, and waiting webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from earmark.errors import LabelConfigError
from earmark.head.version_fallback import answering_version
from earmark.labels.config_changes import current_label_names
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.store.annotations import count_annotations
from earmark.store.dispatcher_queries import training_seconds
from earmark.store.events import PendingWork, pending_work
from earmark.store.models import Project, Training, Version
from earmark.store.projects import known_projects
from earmark.store.registry import active_versions
from earmark.store.renames import Names
from earmark.store.trainings import latest_trainings

NOTHING_YET = "Nothing was learned yet: annotate a few tasks in Label Studio and submit them."


@dataclass(frozen=True)
class ProjectState:
    """A project, the version that answers for it (None before any training), and its last training.

    ``work``: waiting webhooks, or None. ``annotations``: number of annotations held. ``controls``: of the
    current label config, empty where it cannot be used. ``names``: the current name of each renamed label.
    ``training_seconds``: duration of the last training that made a version, where webhooks wait.
    """

    project: Project
    active: Version | None
    training: Training | None
    work: PendingWork | None = None
    annotations: int = 0
    controls: tuple[Control, ...] = ()
    names: Names = field(default_factory=dict)
    training_seconds: float | None = None

    @property
    def remark(self) -> str:
        """Remark on the last training: why its version is not served, or is served unmeasured."""
        if self.training is None:
            return "" if self.active or self.annotations or self.work else NOTHING_YET
        if self.training.outcome == "rejected":
            return f"{self.training.version} was rejected and is not served: {self.training.detail}"
        if self.training.outcome == "failed":
            tried_again = " and is tried again by itself" if self.project.failures else ""
            return f"The last training failed{tried_again}: {self.training.detail}"
        return self.training.detail


def project_states(
    session: Session,
    encoder_identity: str | None,
    read: Callable[[Version], object] | None = None,
    key: str | None = None,
) -> list[ProjectState]:
    """Return the state of every known project with an encoder; None takes versions of any encoder.

    ``read``: loads a version's head, to check that it can answer; see `answering_version`. ``key``: of the
    one project to return.
    """
    trainings, active = latest_trainings(session), {}
    for version in reversed(active_versions(session)):
        if version.answers(encoder_identity) and key in (None, version.project_key):
            active[version.project_key], _ = answering_version(session, version, read)
    work = {waiting.project_key: waiting for waiting in pending_work(session)}
    durations = training_seconds(session, list(work))
    return [
        _state(session, project, active.get(project.key), trainings.get(project.key), work, durations)
        for project in known_projects(session)
        if key in (None, project.key)
    ]


def _state(
    session: Session,
    project: Project,
    active: Version | None,
    training: Training | None,
    work: Mapping[str, PendingWork],
    durations: Mapping[str, float],
) -> ProjectState:
    try:
        controls = parse_label_config(project.label_config) if project.label_config else ()
    except LabelConfigError:
        controls = ()  # one of the project's statements
    return ProjectState(
        project,
        active,
        training,
        work.get(project.key),
        count_annotations(session, project.key),
        controls,
        current_label_names(session, project.key, controls),
        durations.get(project.key),
    )
