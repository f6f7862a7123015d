"""Opening a finished task again changes nothing in it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator, regions_of, tags_of

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def held(loop: Loop, task: int) -> list[tuple[Any, ...]]:
    """What Label Studio holds of a task's annotations and drafts."""
    annotations = loop.client.annotations.list(id=task)
    drafts = loop.client.tasks.get(id=str(task)).drafts
    return [(each.id, each.result, each.updated_at) for each in annotations] + [("drafts", len(drafts))]


def test_a_finished_task_is_as_it_was(annotator: Annotator, shared_project: Loop) -> None:
    loop = shared_project
    clip = annotator.open_label_stream(loop.project_id)
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED
    before = held(loop, clip.task)
    annotator.open_task(loop.project_id, clip.task)
    result = submission.answer["result"]
    annotator.wait_for_regions(len(regions_of(result)))
    assert annotator.tags() == tags_of(result)
    annotator.open_data_manager(loop.project_id)
    assert held(loop, clip.task) == before


def test_auto_annotation_adds_nothing_to_a_finished_task(annotator: Annotator, shared_project: Loop) -> None:
    """Selecting a region asks the backend for suggestions, and its answer changes no finished region."""
    loop = shared_project
    # One that was annotated when the project was made: it has the regions that really sound
    task = min(set(loop.clips) - set(loop.open_tasks()))
    before = held(loop, task)
    annotator.open_task(loop.project_id, task)
    annotator.turn_on_auto_annotation()
    annotator.open_task(loop.project_id, task)
    (annotation,) = loop.client.annotations.list(id=task)
    annotator.wait_for_regions(len(regions_of(annotation.result)))
    regions, tags = annotator.regions(), annotator.tags()
    assert tags == tags_of(annotation.result)
    event = loop.clips[task].events[0]
    middle = (event.onset + event.offset) / 2 / loop.clips[task].duration
    with annotator.page.expect_response(lambda answer: "interactive-annotating" in answer.url) as request:
        annotator.click_waveform(middle)
    assert request.value.ok
    annotator.page.wait_for_function("() => !window.Htx.awaitingSuggestions")
    annotator.screenshot("finished-with-auto-annotation")
    assert (annotator.regions(), annotator.tags()) == (regions, tags)
    annotator.open_data_manager(loop.project_id)
    assert held(loop, task) == before
