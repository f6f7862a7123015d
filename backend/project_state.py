"""How each project stands: which version answers, and why it is not a later one, in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from backend.store.projects import known_projects
from backend.store.registry import list_versions
from backend.store.tables import Project, Training, Version
from backend.store.trainings import latest_trainings

NOTHING_YET = "Nothing was learnt yet: annotate a few tasks in Label Studio and submit them."


@dataclass(frozen=True)
class ProjectState:
    """A project, the version that answers for it (None before any training), and its last training."""

    project: Project
    active: Version | None
    training: Training | None

    @property
    def remark(self) -> str:
        """What is to be said of the last training: why its version is not served, or served unmeasured."""
        if self.training is None:
            return "" if self.active else NOTHING_YET
        if self.training.outcome == "kept":
            return f"{self.training.version} was kept and is not served: {self.training.detail}"
        if self.training.outcome == "failed":
            return f"The last training failed and is tried again by itself: {self.training.detail}"
        return self.training.detail


def project_states(session: Session, encoder_identity: str | None) -> list[ProjectState]:
    """The state of every known project with an encoder; with any where it is not known which one hears."""
    trainings, active = latest_trainings(session), {}
    for version in reversed(list_versions(session)):
        if version.answers(encoder_identity):
            active[version.project_key] = version
    return [
        ProjectState(project, active.get(project.key), trainings.get(project.key))
        for project in known_projects(session)
    ]
