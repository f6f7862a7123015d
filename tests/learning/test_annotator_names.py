"""Names of annotators are read where Label Studio lists tasks, as its webhooks have none."""

from __future__ import annotations

from typing import Any

import pytest

from earmark.labelstudio.task_pages import Listing
from earmark.learning.synchronization import sync
from earmark.monitoring.project_statements import annotator_name
from tests.scene import Scene


def test_a_comparison_names_all_annotators(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.annotate(0, 1, 2, 3)
    scene.learn()
    listed = Listing.tasks

    def with_names(*arguments: Any, **options: Any) -> Any:
        for page in listed(*arguments, **options):
            for task in page:
                for annotation in task["annotations"]:
                    number = annotation["completed_by"] = 1 + task["id"] % 2
                    annotation["created_username"] = f" user{number}@example.org, {number}"
            yield page

    monkeypatch.setattr(Listing, "tasks", with_names)
    counted = scene.project().annotated
    assert counted
    assert counted["labels"]
    for _ in range(2):  # also where nothing has changed since
        sync(scene.services, scene.key)
        summary = scene.project().annotated or {}
        names = summary["annotators"]
        assert annotator_name(1, names) == "user1@example.org (user 1)"
        assert annotator_name(2, names) == "user2@example.org (user 2)"
        assert summary["labels"] == counted["labels"], "what was counted stays"
