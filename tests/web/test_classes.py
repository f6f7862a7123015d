"""Figures of labels on the page of a project."""

from __future__ import annotations

from earmark.labels.label_config import parse_label_config
from earmark.monitoring.project_status import ProjectState
from earmark.store.models import Project, VersionOutcome
from earmark.web.classes import class_rows
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
