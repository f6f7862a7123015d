"""What a version's suggestions cost, kept with it, and versions that are rejected for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.api.versions import read_versions
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.model import Head
from earmark.head.regression_check import Comparison
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.learning.correction_figures import figures_by_control
from earmark.learning.even_sample import MOST_CLIPS, MOST_SECONDS
from earmark.learning.suggestion_check import (
    evenly_spread,
    hold_back_costly_tags,
    out_of_fold_corrections,
    with_suggestions,
)
from earmark.learning.training import learn
from earmark.prediction.postprocessing import predict_clip
from earmark.services import Services
from tests.lessons import KEY, config, make_tones, receive, webhook
from tests.pooling import mean_pool as pool

RATE = 12.5
CONTROLS = parse_label_config(config("x", "y", choice="multiple"))


def clips(count: int = 12) -> list[AnnotatedClip]:
    """Clips of 4 s with one sound from 1 s to 3 s."""
    rng, annotated = np.random.default_rng(0), []
    for number in range(count):
        label = "xy"[number % 2]
        frames = 0.05 * rng.normal(size=(50, 4)).astype(np.float32)
        frames[12:37, "xy".index(label)] += 1
        region = Region(0.96, 2.96, frozenset(label))
        tags = {"tags": frozenset(label)}
        annotated.append(AnnotatedClip(frames, 4.0, f"g{number:02d}", 1.0, {"label": (region,)}, tags))
    return annotated


def fit(annotated: list[AnnotatedClip]) -> CrossValidatedHead:
    return fit_head(pool, RATE, "e-1", CONTROLS, annotated)[0]


def changed(fitted: CrossValidatedHead, threshold: float) -> CrossValidatedHead:
    """The same heads with another threshold."""

    def with_threshold(head: Head) -> Head:
        return Head(
            head.identity,
            {
                name: replace(control, thresholds=np.full(2, threshold, dtype=np.float32))
                for name, control in head.controls.items()
            },
        )

    return replace(fitted, head=with_threshold(fitted.head), folds=tuple(map(with_threshold, fitted.folds)))


def test_a_version_that_costs_more_work_is_worse_and_an_equal_one_is_not() -> None:
    annotated = clips()
    fitted = fit(annotated)
    good = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, fitted)
    silent = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, changed(fitted, 1.01))
    figures = figures_by_control(good)
    assert figures["label"]["effort_ratio"] < 0.5
    assert figures["label"]["event_f1"] > 0.8
    assert figures["label"]["onset_error_seconds"] < 0.1
    assert figures["tags"]["effort_ratio"] < 0.2
    assert figures_by_control(silent)["tags"]["effort_ratio"] == 1.0
    worse = with_suggestions(Comparison({}, {}, ()), annotated, silent, good)
    assert not worse.acceptable
    assert {reason.split("”")[0].strip("“") for reason in worse.reasons} == {"label", "tags"}
    assert worse.active["label"]["event_f1"] == figures["label"]["event_f1"]
    assert with_suggestions(Comparison({}, {}, ()), annotated, good, silent).acceptable
    assert with_suggestions(Comparison({}, {}, ()), annotated, good, good).acceptable


def test_edges_that_are_off_are_worse_though_labels_are_right() -> None:
    annotated = clips()
    good = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, fit(annotated))["label"]
    late = {
        position: replace(correction, onsets=[error + 0.08 for error in correction.onsets])
        for position, correction in good.items()
    }
    late = {p: replace(c, offsets=[error + 0.08 for error in c.offsets]) for p, c in late.items()}
    comparison = with_suggestions(Comparison({}, {}, ()), annotated, {"label": late}, {"label": good})
    assert len(comparison.reasons) == 1
    assert "edges" in comparison.reasons[0]


def test_too_few_recordings_reject_nothing() -> None:
    annotated = clips()
    good = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, fit(annotated))
    silent = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, changed(fit(annotated), 1.0))
    few = {name: {p: by_clip[p] for p in (0, 1, 2, 3)} for name, by_clip in silent.items()}
    assert with_suggestions(Comparison({}, {}, ()), annotated, few, good).acceptable


def test_the_sound_that_is_predicted_again_is_bounded() -> None:
    (clip,) = clips(1)
    many = [clip] * 500
    assert len(evenly_spread(many)) == MOST_CLIPS
    long = [replace(clip, duration=MOST_SECONDS / 4)] * 20
    assert len(evenly_spread(long)) == 4
    assert evenly_spread([replace(clip, duration=2 * MOST_SECONDS), replace(clip, weight=0.0)]) == []


@pytest.mark.parametrize("choice", ["single", "multiple"])
def test_figures_are_kept_with_the_version_and_in_the_learning_curve(
    services: Services, tmp_path: Path, choice: str
) -> None:
    label_config = config("Low", "High", choice=choice)
    tones = make_tones(tmp_path, ["Low", "High"] * 5)
    for tasks in (tones[:6], tones[6:]):
        receive(services, *(webhook(task, label_config) for task in tasks))
        learn(services, KEY)
    answer = read_versions(services, KEY)
    newest = answer.details[0].correction
    assert newest["label"]["annotations"] == 10.0
    assert newest["label"]["effort_ratio"] < 0.5
    assert newest["label"]["onset_error_seconds"] < 0.1
    assert newest["tags"]["effort_ratio"] < 0.5
    curve = answer.projects[0].learning_curve
    assert curve is not None
    assert curve.steps[0].effort_ratio == 1.0, "nothing was suggested before the first version"
    assert curve.steps[-1].effort_ratio is not None
    assert curve.steps[-1].effort_ratio < 0.5
    assert curve.versions[-1].controls["label"]["event_f1"] == 1.0


def without_regions(head: Head) -> Head:
    """The tags' head alone."""
    return Head(head.identity, {"tags": head.controls["tags"]})


def test_tags_that_take_as_long_to_correct_as_to_tick_are_held_back() -> None:
    annotated = clips()
    everything = changed(fit(annotated), 0.0)
    all_shown = replace(
        everything,
        head=without_regions(everything.head),
        folds=tuple(map(without_regions, everything.folds)),
    )
    for count, is_held in ((12, True), (4, False)):
        few = annotated[:count]
        costly = out_of_fold_corrections(pool, RATE, CONTROLS, few, all_shown)
        fitted, corrections = hold_back_costly_tags(CONTROLS, few, all_shown, costly)
        heads = (fitted.head, *fitted.folds)
        assert {head.controls["tags"].held_back for head in heads} == {is_held}
        assert corrections == out_of_fold_corrections(pool, RATE, CONTROLS, few, fitted)
    good = fit(annotated)
    helpful = out_of_fold_corrections(pool, RATE, CONTROLS, annotated, good)
    checked, corrections = hold_back_costly_tags(CONTROLS, annotated, good, helpful)
    assert not any(control.held_back for control in checked.head.controls.values())
    assert corrections == helpful


def test_held_back_tags_are_not_shown_and_stay_so_in_storage_unless_the_label_config_asks_for_them() -> None:
    annotated = clips()
    head = fit(annotated).head
    held = Head("e-1", {**head.controls, "tags": replace(head.controls["tags"], held_back=True)})
    stored = Head.from_bytes(held.to_bytes())
    shown, hidden, requested = (
        predict_clip(served, controls, pool, RATE, annotated[0].frames, 4.0)
        for served, controls in (
            (head, CONTROLS),
            (stored, CONTROLS),
            (stored, [replace(control, threshold=0.4) for control in CONTROLS]),
        )
    )
    assert (
        {label for label, _ in shown.tags["tags"]} == {label for label, _ in requested.tags["tags"]} == {"x"}
    )
    assert hidden.tags["tags"] == ()
    assert hidden.probabilities == shown.probabilities
    assert hidden.regions == shown.regions
