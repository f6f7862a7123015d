"""Comparison with a real Label Studio: whatever was missed, changed or deleted, in either direction."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import LabelStudioError
from earmark.labels.config_changes import receive_webhook
from earmark.labelstudio.task_pages import Listing
from earmark.learning.synchronization import Difference, sync
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.annotations import apply_event, live_annotations
from earmark.store.events import pending_events
from earmark.store.models import Annotation, Project
from earmark.store.projects import project_key

CONFIG = """<View><Audio name="audio" value="$audio"/><Choices name="tags" toName="audio" choice="multiple">
<Choice value="a"/><Choice value="b"/></Choices></View>"""


def tags(*chosen: str) -> list[dict[str, Any]]:
    value = {"choices": list(chosen)}
    return [{"from_name": "tags", "to_name": "audio", "type": "choices", "value": value}]


@pytest.fixture
def services(label_studio: Any, tmp_path: Path) -> Iterator[Services]:
    """A backend that knows this Label Studio and nothing of its projects."""
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        encoder="logmel",
        label_studio_url=label_studio.url,
        label_studio_api_key=label_studio.token,
    )
    with Services(settings) as services:
        services.database.upgrade()
        yield services


@pytest.fixture
def project(label_studio: Any) -> Any:
    """A project of ten annotated tasks, one skipped and one open, that were imported: no webhook says so."""
    client = label_studio.client
    project = client.projects.create(title="sync", label_config=CONFIG)
    skipped = {"result": [], "was_cancelled": True}
    client.projects.import_tasks(
        id=project.id,
        request=[
            *(
                {"data": {"audio": f"/x/{n}.wav"}, "annotations": [{"result": tags("a" if n % 2 else "b")}]}
                for n in range(10)
            ),
            {"data": {"audio": "/x/skipped.wav"}, "annotations": [skipped]},
            {"data": {"audio": "/x/open.wav"}},
        ],
    )
    return project


def key_of(services: Services, project: Any) -> str:
    listing = Listing(services.access.for_project(None))  # type: ignore[arg-type]
    key = project_key(listing.project(project.id))
    with services.database.write() as session:
        if session.get(Project, key) is None:
            session.add(Project(key=key))
    return key


def apply_all(services: Services, key: str) -> dict[int, Any]:
    """What a training would learn from: annotation to result."""
    with services.database.write() as session:
        for event in pending_events(session, key):
            apply_event(session, event)
            event.handled_at = 1.0
        return {row.annotation_id: row.result for row, _ in live_annotations(session, key)}


def held(label_studio: Any, project: Any) -> dict[int, Any]:
    """What Label Studio's own export holds, without the skipped."""
    export = label_studio.client.projects.exports.as_json(project.id)
    return {
        annotation["id"]: annotation["result"]
        for task in export
        for annotation in task["annotations"]
        if not annotation["was_cancelled"]
    }


def test_everything_that_was_missed(label_studio: Any, services: Services, project: Any) -> None:
    key = key_of(services, project)
    assert sync(services, key) == Difference(tasks=11, annotations=11, missed=11, label_config=True)
    applied = apply_all(services, key)
    assert applied == held(label_studio, project)
    assert len(applied) == 10
    assert sync(services, key) == Difference(tasks=11, annotations=11)
    with services.database.read() as session:
        assert session.get_one(Project, key).label_config == CONFIG
        assert not pending_events(session, key)


def test_changes_and_deletions(label_studio: Any, services: Services, project: Any) -> None:
    key = key_of(services, project)
    sync(services, key)
    first, second, third, *_ = sorted(apply_all(services, key))
    client = label_studio.client
    client.annotations.update(id=first, result=tags("a", "b"))
    client.annotations.update(id=second, was_cancelled=True)
    client.annotations.delete(id=third)
    outcome = sync(services, key)
    assert (outcome.missed, outcome.changed, outcome.deleted) == (0, 2, 1)
    applied = apply_all(services, key)
    assert applied == held(label_studio, project)
    assert applied[first] == tags("a", "b")
    assert not {second, third} & applied.keys()


def test_a_wrong_deletion_is_undone(label_studio: Any, services: Services, project: Any) -> None:
    """A webhook said that it was gone, and Label Studio still has it when it is looked at afterwards."""
    key = key_of(services, project)
    sync(services, key)
    number = min(apply_all(services, key))
    with services.database.write() as session:
        receive_webhook(
            session,
            {
                "action": "ANNOTATIONS_DELETED",
                "annotations": [{"id": number}],
                "project": {"id": project.id, "created_at": _created(services, project)},
            },
        )
    assert number not in apply_all(services, key)
    assert sync(services, key).changed == 1
    assert apply_all(services, key) == held(label_studio, project)


def test_a_deletion_after_the_look_stays(services: Services, project: Any) -> None:
    """The page was read before the webhook of the deletion came."""
    key = key_of(services, project)
    sync(services, key)
    with services.database.write() as session:
        look = pending_events(session, key)[-1]
        late = dict(look.payload)
        number = late["annotations"][0]["id"]
    apply_all(services, key)
    with services.database.write() as session:
        for payload in ({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": number}]}, late):
            receive_webhook(session, {**payload, "project": late["project"]})
    assert number not in apply_all(services, key)


def test_a_creation_that_waits_is_known_to_be_gone(
    label_studio: Any, services: Services, project: Any
) -> None:
    """Its webhook is stored and not yet applied, and that of its deletion never came."""
    key = key_of(services, project)
    sync(services, key)
    apply_all(services, key)
    client = label_studio.client
    task = next(iter(client.tasks.list(project=project.id)))
    annotation = client.annotations.create(id=task.id, result=tags("a"))
    with services.database.write() as session:
        receive_webhook(
            session,
            {
                "action": "ANNOTATION_CREATED",
                "annotation": {"id": annotation.id, "task": task.id, "result": tags("a")},
                "task": {"id": task.id, "data": task.data},
                "project": {"id": project.id, "created_at": _created(services, project)},
            },
        )
    client.annotations.delete(id=annotation.id)
    assert sync(services, key).deleted == 1
    applied = apply_all(services, key)
    assert annotation.id not in applied
    assert applied == held(label_studio, project)


def test_any_difference_is_repaired(label_studio: Any, services: Services, project: Any) -> None:
    """Our table is damaged at random, again and again; one comparison makes it equal each time."""
    key = key_of(services, project)
    sync(services, key)
    apply_all(services, key)
    chance = random.Random(5)
    for _ in range(5):
        with services.database.write() as session:
            for row in session.query(Annotation).filter_by(project_key=key).all():
                match chance.randrange(5):
                    case 0:
                        session.delete(row)
                    case 1:
                        row.result = tags("b", "a")
                    case 2:
                        row.was_cancelled = not row.was_cancelled
                    case 3:
                        row.deleted, row.result = True, []
        sync(services, key)
        assert apply_all(services, key) == held(label_studio, project)


def test_a_project_made_anew_is_another(services: Services, project: Any) -> None:
    key = f"{project.id}.1000000000"
    with services.database.write() as session:
        session.add(Project(key=key))
    with pytest.raises(LabelStudioError, match="made anew"):
        sync(services, key)
    with services.database.read() as session:
        assert session.get_one(Project, key).sync_after > 0, "it is not tried again at once"


def test_pages_do_not_matter(services: Services, project: Any) -> None:
    listing = Listing(services.access.for_project(None))  # type: ignore[arg-type]
    pages = list(listing.tasks(project.id, page_tasks=5))
    assert [len(page) for page in pages] == [5, 5, 2]
    ids = [task["id"] for page in pages for task in page]
    assert ids == sorted(set(ids))


def _created(services: Services, project: Any) -> str:
    listing = Listing(services.access.for_project(None))  # type: ignore[arg-type]
    return str(listing.project(project.id)["created_at"])
