"""Response of ``/versions`` and ``earmark versions --json``: versions and status of projects."""

from __future__ import annotations

from dataclasses import asdict

from earmark.api.schemas import (
    CurvePoint,
    CurveStep,
    LearningCurve,
    ProjectStatement,
    ProjectVersions,
    VersionDetail,
    VersionsAnswer,
)
from earmark.errors import EarmarkError
from earmark.learning.learning_curve import learning_curve
from earmark.monitoring.project_statements import project_statements, task_address
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.registry import list_versions, versions_with_heads
from earmark.store.scores import list_scores


def read_versions(services: Services, key: str | None = None) -> VersionsAnswer:
    """Return versions and status of one project with its learning curve, or of all projects without it."""
    try:
        identity: str | None = services.encoder_identity()
    except EarmarkError:
        identity = None  # versions are listed all the same; /predict and the doctor report the error
    with services.database.read() as session:
        rows, with_heads = list_versions(session, key), versions_with_heads(session, key)
        states = project_states(session, identity, services.head, key)
        curve = None
        if key is not None:
            learned = learning_curve(list_scores(session, key))
            curve = LearningCurve(
                steps=[CurveStep(**asdict(step)) for step in learned.steps],
                versions=[CurvePoint(name=p.name, controls=p.figures()) for p in learned.versions],
                annotators=[CurvePoint(name=p.name, controls=p.figures()) for p in learned.annotators],
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
            promotable=row.id in with_heads,
            metrics=row.metrics,
            correction=row.correction,
        )
        for row in rows
    ]
    return VersionsAnswer(
        versions=list(dict.fromkeys(row.name for row in rows)),
        details=details,
        projects=[_project_answer(state, services.settings, curve) for state in states],
    )


def _project_answer(state: ProjectState, settings: Settings, curve: LearningCurve | None) -> ProjectVersions:
    statements = [
        ProjectStatement(
            kind=statement.kind,
            level=statement.level,
            text=statement.text,
            remedy=statement.remedy,
            tasks=list(statement.tasks),
            links=[link for task in statement.tasks if (link := task_address(state, settings, task))],
        )
        for statement in project_statements(state, settings)
    ]
    return ProjectVersions(
        project=state.project.key,
        title=state.project.title,
        active=state.active.name if state.active else None,
        remark=state.remark,
        statements=statements,
        learning_curve=curve,
    )
