"""Annotators in the label stream while versions are trained: what they submit is accepted and stored."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator, tags_of
from tests.browser.steps import correct_one_tag, count_annotations, refresh_while_open, stored

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def test_a_version_that_arrives_while_a_clip_is_open(annotator: Annotator, shared_project: Loop) -> None:
    """What was corrected in a clip is accepted, although a newer version's prediction has come meanwhile."""
    loop = shared_project
    clip = annotator.open_label_stream(loop.project_id)
    tags = correct_one_tag(annotator, loop, clip.task)
    version = refresh_while_open(loop, clip)
    assert clip.version != version
    submission = annotator.submit()
    annotator.screenshot("refreshed-while-open")
    assert submission.sent["parent_prediction"] == clip.prediction
    assert submission.status == httpx.codes.CREATED, submission.answer
    assert tags_of(stored(loop, submission)) == tags
    assert annotator.wait_for_next_clip().version == version


def test_a_draft_is_kept_and_accepted(annotator: Annotator, shared_project: Loop) -> None:
    """Corrections that were saved as a draft outlast a newer version and a reload, and are accepted then."""
    loop = shared_project
    clip = annotator.open_label_stream(loop.project_id)
    with annotator.page.expect_response(lambda answer: "/drafts" in answer.url) as saved:
        tags = correct_one_tag(annotator, loop, clip.task)
    assert saved.value.status == httpx.codes.CREATED
    refresh_while_open(loop, clip)
    again = annotator.reload()
    assert (again.task, len(again.drafts)) == (clip.task, 1)
    assert annotator.tags() == tags
    submission = annotator.submit()
    assert submission.status == httpx.codes.CREATED, submission.answer
    assert tags_of(stored(loop, submission)) == tags


def test_an_update_of_a_submitted_annotation(annotator: Annotator, make_project: Callable[..., Loop]) -> None:
    """Going back and pressing Update is accepted, though a newer version came meanwhile."""
    loop = make_project("Going back", maximum_annotations=2, overlap_cohort_percentage=100)
    first = annotator.open_label_stream(loop.project_id)
    correct_one_tag(annotator, loop, first.task)
    assert annotator.submit().status == httpx.codes.CREATED
    annotator.wait_for_next_clip()
    annotator.go_back(first.task)
    tags = correct_one_tag(annotator, loop, first.task)
    loop.annotate([loop.open_tasks()[-1]])
    version = loop.wait_for_training(count_annotations(loop))
    loop.wait_for_predictions(version, loop.open_tasks())
    update = annotator.update()
    assert update.status == httpx.codes.OK, update.answer
    assert tags_of(stored(loop, update)) == tags
