"""Figures: those of scikit-learn and sed_eval, with intervals that hold what they are said to hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.evaluation import intervals
from earmark.evaluation.figures import NONE, ControlFigures, control_figures
from earmark.evaluation.intervals import RESAMPLES, Bootstrap, Figure
from earmark.evaluation.predictions import Measured
from earmark.evaluation.splits import Placed
from earmark.head.examples import AnnotatedClip
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.prediction.postprocessing import ClipPrediction, DetectedRegion
from tests.lazily import Lazy

dcase_util, sed_eval, sklearn = Lazy("dcase_util.containers"), Lazy("sed_eval"), Lazy("sklearn.metrics")

CONFIG = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Owl"/><Label value="Wren"/></Labels>
<Choices name="tags" toName="audio" choice="multiple"><Choice value="Owl"/><Choice value="Wren"/></Choices>
<Choices name="one" toName="audio" choice="single"><Choice value="Owl"/><Choice value="Wren"/></Choices>
</View>"""
REGIONS, TAGS, ONE = parse_label_config(CONFIG)
Spans = list[tuple[float, float, str]]


def tagged(number: int, true: str, shown: str, scores: dict[str, float] | None = None) -> Measured:
    """One sound with tags, given by their first letters."""
    names = {"O": "Owl", "W": "Wren"}
    tags = frozenset(names[letter] for letter in true)
    chosen = tuple((names[letter], 0.9) for letter in shown)
    prediction = ClipPrediction((), {"tags": chosen, "one": chosen}, {"tags": scores or {}}, 0.0)
    return measured(number, prediction, tags={"tags": tags, "one": tags})


def sounded(number: int, true: Spans, shown: Spans) -> Measured:
    """One sound with regions."""
    regions = tuple(Region(a, b, frozenset([label])) for a, b, label in true)
    detected = tuple(DetectedRegion("label", a, b, label, 0.9) for a, b, label in shown)
    return measured(number, ClipPrediction(detected, {}, {}, 0.0), regions={"label": regions})


def measured(number: int, prediction: ClipPrediction, **annotation: Any) -> Measured:
    placed = Placed(number, f"{number}.wav", f"r{number // 2}", {}, frozenset())
    clip = AnnotatedClip(np.zeros((1, 1)), 10.0, placed.recording, **annotation)
    return Measured(placed, 1, clip, "1", prediction)


def figures(control: Control, sounds: list[Measured]) -> ControlFigures:
    result = control_figures(control, sounds)
    assert result is not None
    return result


def test_tags_are_measured_as_by_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random((40, 2)) < 0.4
    scores = np.clip(0.5 * truth + rng.random((40, 2)) * 0.6, 0, 1).round(2)
    letters = np.array(["O", "W"])
    sounds = [
        tagged(n, "".join(letters[t]), "".join(letters[s >= 0.5]), {"Owl": s[0], "Wren": s[1]})
        for n, (t, s) in enumerate(zip(truth, scores, strict=True))
    ]
    result = figures(TAGS, sounds)
    assert (result.sounds, result.recordings) == (40, 20)
    for k, row in enumerate(result.classes):
        assert row.support == truth[:, k].sum()
        assert row.f1 and row.ap and row.auc and row.f1.low is not None and row.f1.high is not None  # noqa: PT018
        assert row.f1.value == pytest.approx(sklearn.f1_score(truth[:, k], scores[:, k] >= 0.5))
        assert row.ap.value == pytest.approx(sklearn.average_precision_score(truth[:, k], scores[:, k]))
        assert row.auc.value == pytest.approx(sklearn.roc_auc_score(truth[:, k], scores[:, k]))
        assert row.f1.low < row.f1.value < row.f1.high
    assert result.overall["micro_f1"].value == pytest.approx(
        sklearn.f1_score(truth, scores >= 0.5, average="micro")
    )
    assert result.overall["map"].value == pytest.approx(sklearn.average_precision_score(truth, scores))
    assert sum(b.count for b in result.calibration) == 80


def test_a_single_choice_has_the_usual_confusion_matrix() -> None:
    true, shown = "OOOWWWOW", "OOWWWOOW"
    result = figures(ONE, [tagged(n, a, b) for n, (a, b) in enumerate(zip(true, shown, strict=True))])
    assert result.confusion_labels == ("Owl", "Wren")
    assert np.array_equal(result.confusion, sklearn.confusion_matrix(list(true), list(shown)))


def test_what_is_shown_or_annotated_alone_has_its_own_row_and_column() -> None:
    result = figures(TAGS, [tagged(0, "O", ""), tagged(1, "", "W"), tagged(2, "O", "W")])
    assert result.confusion_labels == ("Owl", "Wren", NONE)
    assert result.confusion == ((0.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0))


def test_regions_are_measured_as_by_sed_eval() -> None:
    true = [
        [(1.0, 2.0, "Owl"), (4.0, 6.0, "Wren")],
        [(0.5, 1.5, "Owl")],
        [],
        [(2.0, 3.0, "Wren"), (7.0, 8.5, "Owl")],
    ]
    shown = [
        [(1.05, 2.1, "Owl"), (4.5, 6.0, "Wren")],
        [(0.5, 1.5, "Wren")],
        [(3.0, 4.0, "Owl")],
        [(2.1, 3.1, "Wren"), (7.0, 8.45, "Owl")],
    ]
    result = figures(REGIONS, [sounded(n, a, b) for n, (a, b) in enumerate(zip(true, shown, strict=True))])
    events = sed_eval.sound_event.EventBasedMetrics(["Owl", "Wren"], t_collar=0.2, percentage_of_length=0.2)
    segments = sed_eval.sound_event.SegmentBasedMetrics(["Owl", "Wren"], time_resolution=1.0)
    for n, pair in enumerate(zip(true, shown, strict=True)):
        lists = [
            dcase_util.MetaDataContainer(
                [{"filename": str(n), "onset": a, "offset": b, "event_label": x} for a, b, x in spans]
            )
            for spans in pair
        ]
        events.evaluate(*lists)
        segments.evaluate(*lists, evaluated_length_seconds=10.0)
    assert result.events is not None
    for name, metrics in (("event", events), ("segment", segments)):
        overall = metrics.results_overall_metrics()["f_measure"]
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f_measure")):
            assert result.events.overall[f"{name}_{ours}"].value == pytest.approx(overall[theirs])
    classes = events.results_class_wise_metrics()
    for row in result.events.classes:
        assert row.event_f1 is not None
        assert row.event_f1.value == pytest.approx(classes[row.label]["f_measure"]["f_measure"])


def test_a_control_with_one_label_is_measured_by_that_label() -> None:
    config = """<View><Audio name="audio" value="$audio"/><Choices name="tags" toName="audio"
    choice="multiple"><Choice value="Owl"/></Choices></View>"""
    (only,) = parse_label_config(config)
    true, shown = ["O", "O", "", "", ""], ["O", "", "O", "", ""]
    sounds = [tagged(n, *pair, {"Owl": 0.9 if pair[1] else 0.1}) for n, pair in enumerate(zip(true, shown))]  # noqa: B905
    result = figures(only, sounds)
    (row,) = result.classes
    assert row.support == 2
    for figure in (row.precision, row.recall, row.f1, *map(result.overall.get, ("micro_f1", "macro_f1"))):
        assert figure is not None
        assert figure.value == pytest.approx(0.5)
    both = figures(TAGS, sounds)
    assert both.overall["macro_f1"].value == pytest.approx(0.5), "over the labels that occur"


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for trial in range(60):
        right = rng.random(80) < 0.7
        bootstrap = Bootstrap([str(n) for n in range(80)], seed=trial)
        figure = bootstrap.ratio(right, np.ones(80))
        assert figure is not None and figure.low is not None and figure.high is not None  # noqa: PT018
        held += figure.low <= 0.7 <= figure.high
    assert held >= 50


def test_sounds_of_one_recording_are_resampled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap = Bootstrap(["a", "a", "b", "c", "d", "e"])
    (weights,) = bootstrap.weights()
    assert weights.shape == (RESAMPLES, 6)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    monkeypatch.setattr(intervals, "_CELLS_AT_ONCE", 1200)
    assert np.array_equal(np.concatenate(list(bootstrap.weights())), weights), "also in batches"
    few = Bootstrap(["a", "b"]).ratio(np.array([1, 0]), np.ones(2))
    assert few is not None
    assert (few.low, few.high) == (None, None)


def test_a_control_without_an_answer_has_no_figures() -> None:
    assert control_figures(REGIONS, [tagged(0, "O", "O")]) is None


def test_a_label_of_few_recordings_has_no_interval() -> None:
    # Two sounds are of one recording; one Wren, found: resampling it has nothing to vary
    letters = ["W" if n == 0 else "O" for n in range(40)]
    rare = [tagged(n, letter, "" if n == 9 else letter) for n, letter in enumerate(letters)]
    owl, wren = figures(TAGS, rare).classes
    assert (owl.label, wren.label, wren.recordings) == ("Owl", "Wren", 1)
    assert wren.f1 == Figure(1.0)
    assert owl.f1 is not None
    assert owl.f1.low is not None
    assert owl.precision == Figure(1.0), "all resamples agree"
    events = [sounded(n, [(1, 2, "Owl")] if n else [(1, 2, "Wren")], [(1, 2, "Owl")]) for n in range(40)]
    scored = figures(REGIONS, events).events
    assert scored is not None
    by_label = {each.label: each for each in scored.classes}
    assert by_label["Wren"].event_f1 == Figure(0.0)
    assert by_label["Owl"].event_f1 is not None
    assert by_label["Owl"].event_f1.low is not None
