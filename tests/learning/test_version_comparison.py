"""Comparison of two versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import earmark.learning.training_set
from earmark.commands.tables import print_comparison
from earmark.errors import VersionError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.regression_check import Comparison
from earmark.learning.training import learn
from earmark.learning.version_comparison import compare_versions
from earmark.services import Services
from earmark.store.models import Project, Version, VersionHead
from earmark.store.registry import list_versions, load_head
from tests.lessons import KEY, config, make_tones, receive, webhook

CONFIG = config("Low", "High")


@pytest.fixture
def trained(services: Services, tmp_path: Path) -> Services:
    tones = make_tones(tmp_path, ["Low", "High"] * 5)
    for tasks in (tones[:6], tones[6:]):
        receive(services, *(webhook(task, CONFIG) for task in tasks))
        learn(services, KEY)
    return services


def project(services: Services) -> Project:
    with services.database.read() as session:
        return session.get_one(Project, KEY)


def test_both_are_measured_on_the_annotations_of_now(
    trained: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared_versions: list[Any] = []

    def compare(
        pool: object,
        rate: object,
        controls: object,
        clips: Any,
        candidate: CrossValidatedHead,
        active: CrossValidatedHead,
        built: object,
    ) -> Comparison:
        compared_versions.append((len(clips), candidate.head.to_bytes(), active.head.to_bytes()))
        return Comparison({"tags": {"lwlrap": 0.75}}, {"tags": {"lwlrap": 0.5, "f1": 0.25}}, ("It is so.",))

    monkeypatch.setattr(earmark.learning.training_set, "compare", compare)
    compared = compare_versions(trained, project(trained), "v1", "logmel-v2")
    with trained.database.read() as session:
        second, first = (load_head(session, version.id) for version in list_versions(session, KEY))
    assert compared_versions == [(10, second, first)]
    assert (compared.first, compared.second) == ("logmel-v1", "logmel-v2")
    assert compared.figures["tags"]["lwlrap"] == (0.5, 0.75)
    assert compared.figures["tags"]["f1"] == (0.25, None)
    assert compared.figures["label"]["effort_ratio"] == (0.0, 0.0), "what correcting would cost"
    assert compared.shown["logmel-v1"]["tags"]["annotations"] == 4.0
    assert set(compared.labels["tags"]) == {"Low", "High"}
    assert json.loads(json.dumps(compared.as_json()))["reasons"] == ["It is so."]

    print_comparison(compared)
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines()]
    assert ["control", "figure", "logmel-v1", "logmel-v2"] in rows
    assert ["tags", "lwlrap", "0.500", "0.750"] in rows
    assert ["F1", "0.250"] in rows
    assert "It is so." in text


def test_a_version_of_few_recordings_is_measured_on_those_it_has_not_heard(
    services: Services, tmp_path: Path
) -> None:
    tones = make_tones(tmp_path, ["Low", "High"] * 5)
    for tasks in (tones[:2], tones[2:]):
        receive(services, *(webhook(task, CONFIG) for task in tasks))
        learn(services, KEY)
    compared = compare_versions(services, project(services), "v1", "v2")
    assert all(figure is not None for figure in compared.figures["tags"]["lwlrap"])


def test_what_cannot_be_compared_is_said(trained: Services) -> None:
    with trained.database.write() as session:
        session.query(VersionHead).filter_by(version_id=1).update({"folds": None})
    with pytest.raises(VersionError, match="logmel-v1 cannot be compared"):
        compare_versions(trained, project(trained), "v1", "v2")
    with trained.database.write() as session:
        session.query(Version).filter_by(number=1).update({"encoder": "cnn14-000"})
    with pytest.raises(VersionError, match="only versions of one encoder"):
        compare_versions(trained, project(trained), "v2", "v1")
