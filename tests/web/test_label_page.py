"""The tasks of a label on its page: those whose annotations carry it, however they spell it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.page_data import KEY
from earmark.services import Services
from earmark.store.models import Annotation, Task
from earmark.store.projects import remember_project
from earmark.store.renames import add_rename
from tests.lessons import config

TAXONOMY = (
    '<View><Audio name="audio" value="$audio"/><Taxonomy name="tags" toName="audio"><Choice value="Animal">'
    '<Choice value="Dog"/></Choice></Taxonomy><Rating name="stars" toName="audio"/></View>'
)


def item(name: str, kind: str, **value: Any) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": kind, "value": value}


REGION = item("label", "labels", start=0.5, end=1.5, labels=["Low"])
TAG = item("tags", "choices", choices=["Low"])


def annotate(services: Services, label_config: str, *results: list[dict[str, Any]]) -> None:
    """Store annotations of a project, in this order from 1 on, of tasks of these numbers."""
    with services.database.write() as session:
        remember_project(session, KEY, title="Town", label_config=label_config)
        for number, result in enumerate(results, start=1):
            session.add(Task(project_key=KEY, task_id=number, data={"audio": "/x.wav"}))
            session.add(Annotation(project_key=KEY, annotation_id=number, task_id=number, result=result))


def listed(client: TestClient, control: str, label: str) -> list[int]:
    answer = client.get(f"/projects/{KEY}/label", params={"control": control, "label": label})
    assert answer.status_code == 200
    return [int(number) for number in re.findall(r'id="annotation-(\d+)"', answer.text)]


def test_old_tags_are_found_behind_newer_regions_of_the_same_label(
    client: TestClient, services: Services
) -> None:
    annotate(services, config("Low", "High", choice="multiple"), [TAG], *[[REGION]] * 90)
    assert listed(client, "tags", "Low") == [1]
    assert listed(client, "label", "Low") == list(range(91, 51, -1))
    assert listed(client, "label", "High") == []


@pytest.mark.parametrize(("control", "label"), [("tags", "Animal / Dog"), ("tags", "Animal"), ("stars", "4")])
def test_paths_and_ratings(client: TestClient, services: Services, control: str, label: str) -> None:
    chosen = item("tags", "taxonomy", taxonomy=[["Animal", "Dog"]])
    annotate(services, TAXONOMY, [chosen, item("stars", "rating", rating=4)], [])
    assert listed(client, control, label) == [1]


def test_a_renamed_label_keeps_its_tasks(client: TestClient, services: Services) -> None:
    annotate(
        services, config("Deep", "High"), [REGION], [item("label", "labels", start=0, end=1, labels=["Deep"])]
    )
    with services.database.write() as session:
        add_rename(session, KEY, "label", "Low", "Deep", 1.0)
    assert listed(client, "label", "Deep") == [2, 1]
