"""Steps that several tests of the label stream take: correct a tag, read what is stored, await a refresh."""

from __future__ import annotations

from typing import Any

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator, Clip, Submission
from tests.waiting import until


def correct_one_tag(annotator: Annotator, loop: Loop, task: int) -> set[str]:
    """Correct one tag of a clip, a wrong one where there is one; returns the tags that are ticked then."""
    ticked = annotator.tags()
    true = {event.label for event in loop.clips[task].events}
    wrong = sorted(ticked ^ true)
    tag = wrong[0] if wrong else sorted(true)[0]
    annotator.tick(tag, tag not in ticked)
    assert annotator.tags() == ticked ^ {tag}
    return annotator.tags()


def stored(loop: Loop, submission: Submission) -> list[dict[str, Any]]:
    """The result that Label Studio holds for what was submitted."""
    result: list[dict[str, Any]] = loop.client.annotations.get(id=submission.answer["id"]).result
    return result


def count_annotations(loop: Loop) -> int:
    """Number of annotations that Label Studio holds in a project."""
    tasks = loop.client.tasks.list(project=loop.project_id, fields="all", page_size=100)
    return sum(task.total_annotations for task in tasks)


def refresh_while_open(loop: Loop, clip: Clip) -> str:
    """Annotate other tasks until a newer version has reached the open clip; returns the version's name.

    Further ones where a new version was measured to be worse, and the clip's own goes on answering. It has
    reached all other open tasks as well, so that what the annotator submits meets no write.
    """
    version = clip.version
    others = [task for task in reversed(loop.open_tasks()) if task != clip.task]
    while version == clip.version:
        loop.annotate([others.pop(0)])
        version = loop.wait_for_training(count_annotations(loop))
    assert version is not None
    loop.wait_for_predictions(version, loop.open_tasks())

    def has_reached() -> bool:
        held = {p.id: p.model_version for p in loop.client.predictions.list(task=clip.task)}
        return version in held.values() and held.get(clip.prediction) != clip.version

    until(has_reached, f"{version} reaches the open clip")
    return version
