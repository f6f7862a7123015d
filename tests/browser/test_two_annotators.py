"""Two annotators at once in the label stream, in a Label Studio that stores in PostgreSQL.

On SQLite, Label Studio itself answers one annotator's Submit with 409 where it meets a write of the other
one, with or without a backend; see ``earmark.prediction.write_windows``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from scripts.demo_check import Loop
from scripts.demo_clips import DemoClip
from tests.browser.annotator import Annotator, tags_of
from tests.browser.conftest import project_maker
from tests.browser.steps import correct_one_tag, refresh_while_open, stored
from tests.running import RunningBackend, RunningLabelStudio, running_backend

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def label_studio(label_studio_on_postgresql: RunningLabelStudio) -> RunningLabelStudio:
    """The Label Studio on PostgreSQL, for fixtures that take the other one elsewhere."""
    return label_studio_on_postgresql


@pytest.fixture(scope="module")
def backend(
    label_studio: RunningLabelStudio, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBackend]:
    """A backend of that Label Studio."""
    with running_backend(label_studio, tmp_path_factory.mktemp("backend-of-two")) as running:
        yield running


@pytest.fixture(scope="module")
def make_project(
    label_studio: RunningLabelStudio, backend: RunningBackend, clips: tuple[Path, list[DemoClip]]
) -> Callable[..., Loop]:
    """Makes projects in that Label Studio."""
    return project_maker(label_studio, backend, clips)


@pytest.fixture
def colleague(
    open_window: Callable[[RunningLabelStudio], Annotator], label_studio: RunningLabelStudio
) -> Annotator:
    """A second annotator, with an account made through the owner's invite link."""
    invite = label_studio.client.organizations.invites.get_invite_link().invite_url
    person = open_window(label_studio)
    name = f"{uuid.uuid4().hex[:8]}@example.com"
    person.sign_up(urljoin(label_studio.url, invite), name, "a-second-password")
    return person


@pytest.mark.parametrize("overlap", [1, 2])
def test_two_annotators_at_once(
    annotator: Annotator, colleague: Annotator, make_project: Callable[..., Loop], overlap: int
) -> None:
    """Two people who each have a clip open while the other one submits: no Submit is refused."""
    loop = make_project(
        f"Two annotators, overlap {overlap}", maximum_annotations=overlap, overlap_cohort_percentage=100
    )
    people = [annotator, colleague]
    clips = [person.open_label_stream(loop.project_id) for person in people]
    assert clips[0].task != clips[1].task
    refused = []
    for _ in range(3):
        for number, person in enumerate(people):
            tags = correct_one_tag(person, loop, clips[number].task)
            person.listen(1.5)  # the pace of two people: a Submit each two seconds or so
            submission = person.submit()
            if submission.status == httpx.codes.CREATED:
                assert tags_of(stored(loop, submission)) == tags
                clips[number] = person.wait_for_next_clip()
            else:
                refused.append((number, clips[number], submission.answer))
                clips[number] = person.reload()
    # Both have a clip open when the newest version reaches it
    for person, clip in zip(people, clips, strict=True):
        correct_one_tag(person, loop, clip.task)
    refresh_while_open(loop, clips[0])
    for number, person in enumerate(people):
        submission = person.submit()
        if submission.status != httpx.codes.CREATED:
            refused.append((number, clips[number], submission.answer))
    annotator.screenshot(f"two-annotators-{overlap}")
    assert refused == []
