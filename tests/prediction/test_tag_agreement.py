"""Tags and regions with shared names: which labels are linked, and which of them are shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from earmark.head.model import ControlHead, Head
from earmark.head.region_evidence import RegionEvidence
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config
from earmark.prediction.postprocessing import ClipPrediction, predict_clip
from earmark.prediction.stretches import MIN_REGION_SECONDS
from earmark.prediction.tag_agreement import linked_controls, shared_labels
from tests.pooling import mean_pool as pool

RATE = 12.5
LABELS = ("x", "y", "z")
SOURCES = 6
"""Dimensions 0 to 2 are heard by the regions head, 3 to 5 by the tags head."""


def control(name: str, kind: ControlType) -> Control:
    return Control(name, "audio", kind, LABELS, "audio")


def control_head(name: str, kind: ControlType, labels: tuple[str, ...] = LABELS) -> ControlHead:
    """The log odds of label k are dimension k of the regions' or of the tags' half."""
    weights = np.zeros((SOURCES, len(labels)), dtype=np.float32)
    for column, label in enumerate(labels):
        weights[LABELS.index(label) + (0 if kind == REGION_LABELS else 3), column] = 1
    return ControlHead(
        name,
        kind,
        labels,
        np.zeros(SOURCES, np.float32),
        np.ones(SOURCES, np.float32),
        weights,
        np.zeros(len(labels), np.float32),
        np.full(len(labels), 0.4, np.float32),
    )


def predict(
    tags: ControlType,
    regions: dict[str, float],
    tag_probabilities: dict[str, float],
    learned: tuple[str, ...] = LABELS,
    evidence: tuple[RegionEvidence, ...] = (),
) -> ClipPrediction:
    """A clip of 6 s with regions from 2 to 4 s and tags of these probabilities; others are unlikely."""
    frames = np.full((75, SOURCES), -6.0, dtype=np.float32)
    for label, probability in regions.items():
        frames[25:50, LABELS.index(label)] = np.log(probability / (1 - probability))
    for label, probability in tag_probabilities.items():
        frames[:, 3 + LABELS.index(label)] = np.log(probability / (1 - probability))
    tags_head = control_head("t", tags, learned)
    tags_head = ControlHead(**{**vars(tags_head), "evidence": evidence})
    head = Head("e-1", {"r": control_head("r", REGION_LABELS), "t": tags_head})
    return predict_clip(head, [control("r", REGION_LABELS), control("t", tags)], pool, RATE, frames, 6.0)


def tags_of(prediction: ClipPrediction) -> set[str]:
    return {label for label, _ in prediction.tags["t"]}


def test_names_are_shared_in_either_case_and_by_alias_on_one_sound() -> None:
    config = """<View><Labels name="r" toName="a"><Label value="Dog "/><Label value="Katze" alias="cat"/>
      <Label value="Rain"/></Labels><Audio name="a" value="$a"/><Audio name="b" value="$b"/>
      <Choices name="t" toName="a" choice="multiple"><Choice value="dog"/><Choice value="KATZE"/>
      <Choice value="wind"/></Choices>
      <Choices name="u" toName="b" choice="multiple"><Choice value="dog"/></Choices></View>"""
    regions, tags, elsewhere = parse_label_config(config)
    assert shared_labels(regions, tags) == {"Dog ": "dog", "cat": "KATZE"}
    assert shared_labels(regions, elsewhere) == {}
    assert shared_labels(tags, regions) == {}
    assert linked_controls((regions, tags, elsewhere), [tags]) == (regions, tags)
    assert linked_controls((regions, tags, elsewhere), [elsewhere]) == (elsewhere,)


def test_a_region_ticks_its_tag_with_its_score_at_least() -> None:
    prediction = predict(MULTIPLE_CHOICE, {"x": 0.95}, {"x": 0.2})
    (region,) = prediction.regions
    assert tags_of(prediction) == {"x"}
    assert prediction.probabilities["t"]["x"] == dict(prediction.tags["t"])["x"] >= region.score


def test_a_region_ticks_a_tag_that_the_tags_head_has_not_learned() -> None:
    prediction = predict(MULTIPLE_CHOICE, {"z": 0.9}, {}, learned=("x", "y"))
    assert tags_of(prediction) == {"z"}
    assert prediction.probabilities["t"]["z"] == pytest.approx(prediction.regions[0].score)


def test_a_tag_without_a_region_needs_a_surer_head() -> None:
    assert tags_of(predict(MULTIPLE_CHOICE, {}, {"x": 0.55})) == set()
    assert tags_of(predict(MULTIPLE_CHOICE, {}, {"x": 0.95})) == {"x"}
    prediction = predict(MULTIPLE_CHOICE, {}, {"x": 0.55, "y": 0.95})
    assert prediction.probabilities["t"]["x"] < 0.4 <= prediction.probabilities["t"]["y"]


def test_a_tag_stays_as_it_is_where_no_region_of_it_was_learned() -> None:
    frames = np.full((75, SOURCES), -6.0, dtype=np.float32)
    frames[:, 5] = 0.0
    head = Head(
        "e-1", {"r": control_head("r", REGION_LABELS, ("x",)), "t": control_head("t", MULTIPLE_CHOICE)}
    )
    prediction = predict_clip(
        head, [control("r", REGION_LABELS), control("t", MULTIPLE_CHOICE)], pool, RATE, frames, 6.0
    )
    assert dict(prediction.tags["t"]) == {"z": pytest.approx(0.5)}


def test_a_faint_region_whose_tag_is_ruled_out_goes_and_a_sure_one_stays() -> None:
    assert predict(MULTIPLE_CHOICE, {"x": 0.45}, {"x": 0.01}).regions == ()
    assert len(predict(MULTIPLE_CHOICE, {"x": 0.45}, {"x": 0.3}).regions) == 1
    sure = predict(MULTIPLE_CHOICE, {"x": 0.95}, {"x": 0.01})
    assert len(sure.regions) == 1
    assert tags_of(sure) == {"x"}


def test_tags_that_mean_something_else_are_left_alone() -> None:
    third, none = np.full(4, 0.33, np.float32), np.full(4, 0.5, np.float32)
    evidence = (RegionEvidence("r", third, third, none, none, np.ones(4, np.float32)),)
    prediction = predict(
        MULTIPLE_CHOICE, {"x": 0.95, "y": 0.45}, {"x": 0.1, "y": 0.01, "z": 0.5}, evidence=evidence
    )
    assert tags_of(prediction) == {"z"}
    assert "x" in {region.label for region in prediction.regions}
    assert prediction.probabilities["t"]["x"] == pytest.approx(0.1, abs=1e-3)
    single = predict(SINGLE_CHOICE, {"x": 0.95}, {"z": 0.99}, evidence=evidence)
    assert tags_of(single) == {"z"}


def test_counts_say_how_much_a_missing_region_matters_also_where_a_region_ticks_nothing() -> None:
    third, none = np.full(4, 0.33, np.float32), np.full(4, 0.5, np.float32)
    for alone, shown in ((0.1, set()), (1.0, {"x"})):
        evidence = (RegionEvidence("r", third, third, none, none, np.full(4, alone, np.float32)),)
        assert tags_of(predict(MULTIPLE_CHOICE, {}, {"x": 0.6}, evidence=evidence)) == shown


def test_a_single_choice_that_contradicts_follows_the_strongest_region_and_is_uncertain() -> None:
    agreeing = predict(SINGLE_CHOICE, {"x": 0.95}, {"x": 0.99})
    contradicting = predict(SINGLE_CHOICE, {"x": 0.95}, {"y": 0.99})
    assert tags_of(agreeing) == tags_of(contradicting) == {"x"}
    probabilities = contradicting.probabilities["t"]
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert max(probabilities, key=lambda label: probabilities[label]) == "x"
    assert contradicting.score < agreeing.score
    assert tags_of(predict(SINGLE_CHOICE, {}, {"y": 0.99})) == {"y"}
    assert tags_of(predict(SINGLE_CHOICE, {"z": 0.9}, {"y": 0.99}, learned=("x", "y"))) == {"z"}


def test_a_faint_region_goes_where_annotators_choose_the_label_of_every_region() -> None:
    default = RegionEvidence.default("r", 3)
    always = (replace(default, chosen=np.full(4, 0.95, np.float32)),)
    alone = predict(SINGLE_CHOICE, {"x": 0.45}, {"z": 0.99}, evidence=always)
    assert (alone.regions, tags_of(alone)) == ((), {"z"})
    assert tags_of(predict(SINGLE_CHOICE, {"x": 0.45}, {"z": 0.99})) == {"x"}


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 50), st.just(SOURCES)), elements=st.floats(-6, 6, width=16)
    ),
    hnp.arrays(np.float32, (3, 3), elements=st.sampled_from([0.0, 0.3, 1.0])),
    st.sampled_from([SINGLE_CHOICE, MULTIPLE_CHOICE]),
    st.sampled_from([LABELS, ("x", "y")]),
    st.floats(-0.07, 0.3),
)
def test_every_screen_agrees_with_itself(
    frames: NDArray[Any],
    factors: NDArray[Any],
    tags: ControlType,
    learned: tuple[str, ...],
    rest: float,
) -> None:
    factors = np.minimum(factors, factors.T)
    np.fill_diagonal(factors, 1.0)
    duration = max(0.01, len(frames) / RATE + rest)
    regions_head = ControlHead(**{**vars(control_head("r", REGION_LABELS)), "overlap_factors": factors})
    head = Head("e-1", {"r": regions_head, "t": control_head("t", tags, learned)})
    prediction = predict_clip(
        head, [control("r", REGION_LABELS), control("t", tags)], pool, RATE, frames, duration
    )
    shown, drawn = dict(prediction.tags["t"]), {region.label for region in prediction.regions}
    if tags == MULTIPLE_CHOICE:
        assert drawn <= shown.keys()
        for label, score in shown.items():
            strengths = [region.score for region in prediction.regions if region.label == label]
            assert score >= max(strengths, default=0.0)
    elif drawn:
        assert shown.keys() <= drawn
        assert len(shown) == 1
    for label, score in shown.items():
        assert score == prediction.probabilities["t"][label]
    assert 0 <= prediction.score <= 1
    assert all(0 <= value <= 1 for each in prediction.probabilities.values() for value in each.values())
    assert list(prediction.regions) == sorted(
        prediction.regions, key=lambda region: (region.start, region.end)
    )
    for region in prediction.regions:
        assert 0 <= region.start < region.end <= duration
        assert region.end - region.start >= min(MIN_REGION_SECONDS, duration)
        for other in prediction.regions:
            if factors[LABELS.index(region.label), LABELS.index(other.label)] == 0:
                assert region.end <= other.start or other.end <= region.start
