"""A project that Label Studio has no longer is looked for once a day, until it sends something again."""

from __future__ import annotations

import time

import pytest

from earmark.errors import ProjectGoneError
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.synchronization import GONE_REST_SECONDS, sync
from earmark.monitoring.project_statements import project_statements
from earmark.monitoring.project_status import project_states
from tests.lessons import receive
from tests.scene import Scene


def jobs(scene: Scene, after_seconds: float) -> set[str]:
    services, now = scene.services, time.time() + after_seconds
    return {request.function for request, _ in due_jobs(services.database, services.settings, now, now)}


def test_a_deleted_project_is_left_in_peace(scene: Scene) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    assert {"sync", "refresh"} <= jobs(scene, 3600.0)
    held = scene.label_studio.rows.projects[1]
    scene.label_studio.rows.projects.remove(1)
    with pytest.raises(ProjectGoneError):
        sync(scene.services, scene.key)
    assert scene.project().gone_at
    assert not {"sync", "refresh", "fetch"} & jobs(scene, 3600.0)
    assert "sync" in jobs(scene, GONE_REST_SECONDS + 1.0)
    with scene.services.database.read() as session:
        (state,) = project_states(session, scene.services.encoder_identity())
    assert project_statements(state, scene.services.settings)[0].kind == "gone"
    receive(scene.services, {"action": "PROJECT_UPDATED", "project": held})
    assert not scene.project().gone_at
    assert {"sync", "refresh"} <= jobs(scene, 3600.0)
