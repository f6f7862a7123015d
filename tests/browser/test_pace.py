"""Clip after clip in the label stream at the pace of a person, while versions are trained.

Apart from the other tests of the label stream, because both wait for most of their time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from scripts.demo_check import Loop
from tests.browser.annotator import Annotator, regions_of, tags_of
from tests.browser.steps import correct_one_tag, count_annotations, stored

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


def versions_of(loop: Loop) -> list[dict[str, Any]]:
    """Versions of a project, the newest first, as the backend lists them."""
    answer = httpx.get(f"{loop.api_url}/versions", params={"project": loop.project_key}, timeout=30)
    details: list[dict[str, Any]] = answer.json()["details"]
    return details


@pytest.mark.parametrize(("seconds", "count"), [(5.0, 12), (10.0, 6)])
def test_clips_at_the_pace_of_a_person(
    annotator: Annotator, make_project: Callable[..., Loop], seconds: float, count: int
) -> None:
    """One correction in each clip, half of its time after it came, and no Submit is refused."""
    loop = make_project(f"A clip each {seconds:.0f} s")
    annotated_before = count_annotations(loop)
    refused: list[tuple[int, dict[str, Any]]] = []
    rows: list[tuple[int, str | None, int]] = []
    clip = annotator.open_label_stream(loop.project_id)
    for number in range(count):
        annotator.play()
        annotator.listen(seconds / 2)
        regions = annotator.regions()
        if number % 2 and regions:
            annotator.delete_region(0)
            tags, regions = annotator.tags(), annotator.regions()
        else:
            tags = correct_one_tag(annotator, loop, clip.task)
        annotator.listen(seconds / 2)
        annotator.screenshot(f"pace-{seconds:.0f}-{number}")
        submission = annotator.submit()
        rows.append((clip.task, clip.version, annotated_before + number))
        if submission.status == httpx.codes.CREATED:
            assert submission.sent["parent_prediction"] == clip.prediction
            result = stored(loop, submission)
            assert tags_of(result) == tags
            assert sorted(label for _, _, label in regions_of(result)) == sorted(regions)
            clip = annotator.wait_for_next_clip()
        else:
            refused.append((number, submission.answer))
            annotator.screenshot(f"pace-{seconds:.0f}-{number}-refused")
            clip = annotator.reload()
    print_staleness(rows, versions_of(loop))
    assert refused == []


def print_staleness(rows: list[tuple[int, str | None, int]], versions: list[dict[str, Any]]) -> None:
    """Print how many annotations each suggestion had learned from, and how many there were."""
    learned = {version["name"]: version["annotations"] for version in versions}
    print("\n task  shown version  learned from  annotations then  behind")
    for task, version, submitted in rows:
        learned_from = learned.get(version or "", 0)
        print(
            f"{task:5d}  {version!s:13s}  {learned_from:11d}  {submitted:16d}  {submitted - learned_from:6d}"
        )
    for version in reversed(versions):
        print(f"{version['name']}: {version['annotations']} annotations, {version['status']}")
