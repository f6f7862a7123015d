"""Opening a finished task again changes nothing in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator, tags_of

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def held(loop: Loop, task: int) -> list[tuple[Any, ...]]:
    """What Label Studio holds of a task's annotations and drafts."""
    annotations = loop.client.annotations.list(id=task)
    drafts = loop.client.tasks.get(id=str(task)).drafts
    return [(each.id, each.result, each.updated_at) for each in annotations] + [("drafts", len(drafts))]


def test_a_finished_task_is_as_it_was(annotator: Annotator, make_project: Callable[..., Loop]) -> None:
    loop = make_project("Finished")
    clip = annotator.open_label_stream(loop.project_id)
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED
    before = held(loop, clip.task)
    annotator.open_task(loop.project_id, clip.task)
    result = submission.answer["result"]
    assert annotator.tags() == tags_of(result)
    assert len(annotator.regions()) == sum(item["type"] == "labels" for item in result)
    annotator.open_data_manager(loop.project_id)
    assert held(loop, clip.task) == before
