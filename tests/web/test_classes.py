"""Figures of labels on the page of a project."""

from __future__ import annotations

from dataclasses import replace

from earmark.labels.label_config import parse_label_config
from earmark.monitoring.project_status import ProjectState
from earmark.store.models import Project, Version, VersionOutcome
from earmark.web.classes import class_rows
from earmark.web.version_points import VersionPoint, measured
from tests.lessons import config


def test_what_was_shown_under_a_former_name_counts_for_the_present_one() -> None:
    controls = parse_label_config(config("Cow", "Jay"))
    parts = {"found": 1.0, "missed": 0.0, "extra": 3.0}
    outcome = VersionOutcome(
        labels={"label": {"Cattle": parts}},
        confused=[["label", "Jay", "Cattle", 2.0], ["label", "Cow", "Cattle", 1.0]],
    )
    project = Project(key="7.1", title="Farm", label_config="")
    state = ProjectState(project, None, None, controls=controls, names={"label": {"Cattle": "Cow"}})
    rows = {(row.control, row.label): row for row in class_rows(state, [], [outcome])}
    assert rows["label", "Cow"].false_alarms == 0.75
    assert [pair.shown for pair in rows["label", "Jay"].confusions] == ["Cow"]
    assert rows["label", "Cow"].confusions == (), "both names are of one label"


def test_what_was_measured_under_a_former_name_is_shown_for_the_present_one() -> None:
    controls = parse_label_config(config("Cow", "Jay", choice="multiple"))
    figures = {"f1": 0.6, "threshold": 0.3, "recordings": 9}
    metrics = {name: {"per_class": {"Cattle": figures}} for name in ("label", "tags")}
    point = VersionPoint(1, 1, "logmel-v1", "e", 9, 0.0, "served", "", measured(metrics))
    renamed = {"label": {"per_class": {"Cow": {**figures, "f1": 0.7}}}}
    later = replace(point, id=2, number=2, measured=measured(renamed))
    names = {"label": {"Cattle": "Cow"}, "tags": {"Cattle": "Cow"}}
    project = Project(key="7.1", title="Farm", label_config="")
    state = ProjectState(project, Version(metrics=metrics), None, controls=controls, names=names)
    rows = {(row.control, row.label): row for row in class_rows(state, [point, later], [])}
    assert rows["label", "Cow"].quality == rows["tags", "Cow"].quality == 0.6
    assert rows["tags", "Cow"].threshold == 0.3
    assert rows["label", "Cow"].history == (0.6, 0.7)
    assert rows["label", "Jay"].quality is None
