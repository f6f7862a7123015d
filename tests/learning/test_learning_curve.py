"""The learning curve by number of annotations."""

from __future__ import annotations

from typing import Any

import pytest

from earmark.api.schemas import CurvePoint, CurveStep, LearningCurve
from earmark.commands.tables import print_curve, sparkline
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ReadResult
from earmark.learning.learning_curve import STEPS_AT_MOST, learning_curve, step_size
from earmark.learning.segment_metrics import measure
from earmark.store.models import PredictionScore

REGIONS = Control("label", "audio", REGION_LABELS, ("a", "b"), "audio")
TAGS = Control("tags", "audio", MULTIPLE_CHOICE, ("a", "b"), "audio")


def score(number: int, **distances: Any) -> PredictionScore:
    return PredictionScore(
        annotation_id=number, task_id=number, annotator=1, version=f"logmel-v{number}", distances=distances
    )


def regions(*spans: tuple[float, float, str]) -> ReadResult:
    return ReadResult(
        {"label": tuple(Region(start, end, frozenset(label)) for start, end, label in spans)}, {}
    )


def tags(labels: str) -> ReadResult:
    return ReadResult({}, {"tags": frozenset(labels)})


@pytest.mark.parametrize(
    ("count", "size"), [(0, 1), (1, 1), (15, 1), (16, 2), (60, 5), (61, 5), (76, 10), (8640, 1000)]
)
def test_steps_are_few_and_round(count: int, size: int) -> None:
    assert step_size(count) == size
    assert -(-count // size) <= STEPS_AT_MOST


def test_accepted_moved_and_missed_suggestions() -> None:
    given = regions((1.0, 2.0, "a"), (3.0, 4.0, "b"), (6.0, 7.0, "a"))
    wanted = regions((1.0, 2.0, "a"), (3.1, 4.3, "b"), (8.0, 9.0, "a"))
    figures = measure(REGIONS, wanted, given, None)
    assert figures is not None
    assert (figures["suggested"], figures["accepted"]) == (3, 1)
    assert sorted(figures["edges"]) == pytest.approx([0.0, 0.0, 0.1, 0.3])
    tagged = measure(TAGS, tags("a"), tags("ab"), None)
    assert tagged is not None
    assert (tagged["suggested"], tagged["accepted"]) == (2, 1)


def test_a_region_is_paired_once() -> None:
    """Two shown regions over one annotated region: one of them is its suggestion, the other is not."""
    figures = measure(REGIONS, regions((0.0, 4.0, "a")), regions((0.0, 4.0, "a"), (1.0, 2.0, "a")), None)
    assert figures is not None
    assert (figures["suggested"], figures["accepted"], figures["edges"]) == (2, 1, [0.0, 0.0])


def test_versions_are_rows_no_more_and_annotations_are() -> None:
    """A version after each annotation, as many as an hour brings: still a page of steps."""
    right = measure(TAGS, tags("a"), tags("a"), None)
    wrong = measure(TAGS, tags("a"), tags("b"), None)
    cut = measure(REGIONS, regions((1.0, 2.0, "a")), regions((1.0, 1.9, "a")), None)
    scores = [score(n, tags=right if n > 180 else wrong, label=cut) for n in range(1, 361)]
    curve = learning_curve(scores)
    assert len(curve.versions) == 360
    assert [(step.first, step.last) for step in curve.steps][:2] == [(1, 50), (51, 100)]
    assert curve.steps[-1].last == 360
    assert [step.tags_f1 for step in curve.steps][:3] == [0.0, 0.0, 0.0]
    assert curve.steps[-1].tags_f1 == 1.0
    assert curve.steps[0].accepted == 0.0
    assert curve.steps[-1].accepted == 0.5, "the region was moved each time"
    assert curve.steps[0].edge_error_seconds == pytest.approx(0.05)
    assert curve.steps[0].region_f1 == pytest.approx(2 * 0.9 / 1.9)


def test_scores_of_earlier_releases_are_told_apart_by_what_they_hold() -> None:
    seconds = {"labels": {"a": {"found": 0.5, "missed": 0.25, "extra": 0.0}}, "substituted": 0.0}
    pieces = {"labels": {"a": {"found": 1.0, "missed": 0.0, "extra": 0.0}}, "substituted": 0.0, "lwlrap": 1.0}
    (step,) = learning_curve([score(1, label=seconds, tags=pieces)]).steps
    assert (step.suggestions, step.accepted, step.edge_error_seconds) == (0, None, None)
    assert step.tags_f1 == 1.0
    assert step.region_f1 == pytest.approx(0.8)


def test_the_curve_fits_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("earmark.commands.tables.PIPED_WIDTH", 80)
    steps = [
        CurveStep(
            first=1000 * n + 1,
            last=1000 * n + 1000,
            suggestions=10,
            accepted=n / 10,
            tags_f1=0.5,
            region_f1=None if n == 3 else 0.25,
            edge_error_seconds=0.1,
            effort_ratio=1.25,
            event_f1=None,
        )
        for n in range(9)
    ]
    annotators = [CurvePoint(name="1", controls={"tags": {"annotations": 9000.0, "f1": 0.5}})]
    print_curve(LearningCurve(steps=steps, versions=[], annotators=annotators))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 90
    assert "8001–9000" in "\n".join(lines)
    assert any("▁▂▂▃" in line for line in lines)


def test_sparkline() -> None:
    assert sparkline([0.0, None, 0.5, 1.0], 1.0) == "▁ ▅█"
