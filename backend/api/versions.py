"""What ``/versions`` and ``python -m backend versions --json`` say."""

from __future__ import annotations

from backend.api.schemas import CurvePoint, LearningCurve, ProjectVersions, VersionDetail, VersionsAnswer
from backend.errors import EarmarkError
from backend.learning_curve import learning_curve
from backend.project_state import ProjectState, project_states
from backend.services import Services
from backend.store.registry import list_versions
from backend.store.scores import list_scores


def read_versions(services: Services, key: str | None = None) -> VersionsAnswer:
    """Versions and state of one project, with its learning curve, or of all of them without."""
    try:
        identity: str | None = services.encoder_identity()
    except EarmarkError:
        identity = None  # the versions are there all the same, and /predict and the doctor say what is wrong
    with services.database.read() as session:
        rows = list_versions(session, key)
        states = [s for s in project_states(session, identity) if key in (None, s.project.key)]
        curve = None
        if key is not None:
            found = learning_curve(list_scores(session, key))
            curve = LearningCurve(
                versions=[CurvePoint(name=p.name, controls=p.figures()) for p in found.versions],
                annotators=[CurvePoint(name=p.name, controls=p.figures()) for p in found.annotators],
            )
    details = [
        VersionDetail(
            project=row.project_key,
            name=row.name,
            active=row.answers(identity),
            encoder=row.encoder,
            annotations=row.annotations,
            created_at=row.created_at,
            status=row.status,
            reason=row.reason,
            metrics=row.metrics,
        )
        for row in rows
    ]
    return VersionsAnswer(
        versions=list(dict.fromkeys(row.name for row in rows)),
        details=details,
        projects=[_project(state, curve) for state in states],
    )


def _project(state: ProjectState, curve: LearningCurve | None) -> ProjectVersions:
    return ProjectVersions(
        project=state.project.key,
        title=state.project.title,
        active=state.active.name if state.active else None,
        remark=state.remark,
        learning_curve=curve,
    )
