"""The sentences at the top: what works, what is mixed up, and which clips would help most."""

from __future__ import annotations

import pytest

from earmark.monitoring.project_status import ProjectState
from earmark.settings import Settings
from earmark.store.models import Project, Training, Version
from earmark.store.preannotations import Progress
from earmark.web.classes import ClassRow, Confusion
from earmark.web.summary import Sentence, summary

ACTIVE = Version(project_key="7.1", name="logmel-v3", encoder="e", number=3, active=True)


def row(label: str, examples: int, quality: float | None) -> ClassRow:
    return ClassRow("label", label, examples, quality, None, None, (), ())


def sentences(
    settings: Settings,
    rows: list[ClassRow],
    confusions: tuple[Confusion, ...] = (),
    training: Training | None = None,
    active: Version | None = ACTIVE,
    runs: dict[int, Progress] | None = None,
    faults: dict[str, str] | None = None,
) -> list[Sentence]:
    project = Project(
        key="7.1", title="Owls", label_config="", hostname="", access_token="", lease_until=0.0, failures=0
    )
    state = ProjectState(project, active, training, None, 12)
    return summary(state, settings, rows, confusions, runs or {}, faults or {})


def of(kind: str, listed: list[Sentence]) -> str:
    return " ".join(sentence.text for sentence in listed if sentence.kind == kind)


@pytest.mark.parametrize(
    ("rows", "good"),
    [
        ([row("Owl", 9, 0.95), row("Jay", 9, 0.85), row("Rain", 9, 0.3)], "Owl (95 %) and Jay (85 %)."),
        ([row("Owl", 9, 0.5)], "No label reaches 80 % yet."),
        ([row("Owl", 2, None)], "Too few recordings"),
        ([row(f"L{n}", 9, 0.9) for n in range(6)], "2 other labels"),
    ],
)
def test_what_it_is_good_at(rows: list[ClassRow], good: str, settings: Settings) -> None:
    assert good in of("good", sentences(settings, rows))


@pytest.mark.parametrize(
    ("rows", "help_"),
    [
        ([row("Owl", 2, None), row("Jay", 9, 0.9)], "Three more clips of Owl"),
        ([row("Owl", 4, None), row("Jay", 9, 0.9)], "One more clip of Owl"),
        ([row("Owl", 0, None), row("Jay", 1, None)], "Five clips of Owl, and likewise of 1 other label"),
        ([row("Owl", 9, 0.4), row("Jay", 9, 0.9)], "Five more clips of Owl: at 40 %"),
        ([row("Owl", 9, 0.9)], "Every label is well known"),
    ],
)
def test_what_would_help_most(rows: list[ClassRow], help_: str, settings: Settings) -> None:
    assert help_ in of("help", sentences(settings, rows))


def test_single_slips_are_not_confusions(settings: Settings) -> None:
    confusions = (
        Confusion("tags", "Owl", "Jay", 3.0, is_seconds=False),
        Confusion("label", "Owl", "Jay", 2.0, is_seconds=True),
        Confusion("tags", "Jay", "Owl", 1.0, is_seconds=False),
    )
    assert of("mixed", sentences(settings, [], confusions)) == "Owl was taken for Jay (3 tags), lately."


def test_what_runs_and_what_is_wrong(settings: Settings) -> None:
    failed = Training(project_key="7.1", outcome="failed", detail="OSError: disk full", version=None)
    listed = sentences(
        settings, [], training=failed, runs={1: Progress(tasks=5, tasks_done=2)}, faults={"redis": "No."}
    )
    assert "2 of 5 tasks" in of("running", listed)
    wrong = [sentence for sentence in listed if sentence.kind == "wrong"]
    assert [sentence.number for sentence in wrong] == [1, 2]
    assert wrong[0].text == "redis: No."
    assert "disk full" in wrong[1].text


def test_before_the_first_version(settings: Settings) -> None:
    assert of("good", sentences(settings, [], active=None)) == "No trained version answers yet."
