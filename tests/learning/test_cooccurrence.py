"""Co-occurrence learned from annotations, stored with the head, and used in predictions."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.encoders.logmel import LogmelEncoder
from earmark.errors import HeadDamagedError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.model import Head
from earmark.head.region_evidence import DEFAULT_AGREED, DEFAULT_ALONE, RegionEvidence
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.learning.cooccurrence import learn_cooccurrence
from earmark.learning.training import learn
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.overlap import EXCLUSIVE_FACTOR
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import Predictor
from earmark.prediction.tag_agreement import AGREED_SHARE
from earmark.services import Services
from scripts.demo_clips import SEED, plan_clips, render
from tests.lessons import KEY, config, make_tones, receive, webhook
from tests.pooling import mean_pool as pool

RATE = 12.5
CONTROLS = parse_label_config(config("x", "y", choice="multiple"))
DEMO_CONFIG = Path(__file__).parents[2] / "label_config.xml"


def clips_with(tags_of: dict[str, frozenset[str]], count: int = 12) -> list[AnnotatedClip]:
    """Clips of 4 s with one sound in the second and third second, annotated as a region of its name."""
    rng, clips = np.random.default_rng(0), []
    for number in range(count):
        label = "xy"[number % 2]
        frames = 0.05 * rng.normal(size=(50, 4)).astype(np.float32)
        frames[12:37, "xy".index(label)] += 1
        region = Region(1.0, 3.0, frozenset([label]))
        clips.append(
            AnnotatedClip(frames, 4.0, f"g{number}", 1.0, {"label": (region,)}, {"tags": tags_of[label]})
        )
    return clips


def learned(clips: list[AnnotatedClip]) -> CrossValidatedHead:
    fitted, _ = fit_head(pool, RATE, "e-1", CONTROLS, clips)
    return learn_cooccurrence(pool, RATE, CONTROLS, clips, fitted)


AGREEING = {"x": frozenset("x"), "y": frozenset("y")}
CROSSED = {"x": frozenset("y"), "y": frozenset("x")}


def test_tags_that_go_with_regions_and_tags_that_mean_something_else() -> None:
    agreeing, crossed = learned(clips_with(AGREEING)), learned(clips_with(CROSSED))
    (evidence,) = agreeing.head.controls["tags"].evidence
    assert evidence.regions == "label"
    assert (evidence.agreed > DEFAULT_AGREED).all()
    assert (evidence.missed < evidence.quiet).all()
    (evidence,) = crossed.head.controls["tags"].evidence
    assert (evidence.agreed < AGREED_SHARE).all()
    for fitted, tags_of in ((agreeing, AGREEING), (crossed, CROSSED)):
        for clip in clips_with(tags_of)[:2]:
            prediction = predict_clip(fitted.head, CONTROLS, pool, RATE, clip.frames, 4.0)
            drawn = {region.label for region in prediction.regions}
            assert {label for label, _ in prediction.tags["tags"]} == clip.tags["tags"]
            assert drawn == clip.regions["label"][0].labels


def test_labels_without_overlap_become_exclusive_for_the_project() -> None:
    factors = learned(clips_with(AGREEING, 30)).head.controls["label"].overlap_factors
    assert factors is not None
    assert factors[0, 1] < EXCLUSIVE_FACTOR


def test_tags_that_are_never_ticked_beside_regions_are_not_ticked_though_no_head_has_learned_them() -> None:
    clips = clips_with({"x": frozenset("x"), "y": frozenset()}, 20)
    fitted = learned(clips)
    assert fitted.head.controls["tags"].labels == ("x",)
    (evidence,) = fitted.head.controls["tags"].evidence
    assert evidence.agreed[1] < AGREED_SHARE < evidence.agreed[0]
    prediction = predict_clip(fitted.head, CONTROLS, pool, RATE, clips[1].frames, 4.0)
    assert {region.label for region in prediction.regions} == {"y"}
    assert prediction.tags["tags"] == ()


def test_too_few_recordings_for_folds_leave_the_defaults_of_what_is_predicted() -> None:
    fitted = learned(clips_with(AGREEING, 4))
    assert not fitted.folds
    (evidence,) = fitted.head.controls["tags"].evidence
    assert (evidence.missed == RegionEvidence.default("label", 2).missed).all()


def test_annotations_show_whether_a_tag_without_a_region_is_to_be_believed() -> None:
    agreeing = clips_with(AGREEING, 20)
    undrawn = [
        replace(clip, regions={"label": ()}) if number % 4 > 1 else clip
        for number, clip in enumerate(agreeing)
    ]
    for count in (4, 20):  # without and with out-of-fold predictions
        (trusted,) = learned(agreeing[:count]).head.controls["tags"].evidence
        (believed,) = learned(undrawn[:count]).head.controls["tags"].evidence
        assert (believed.alone > 2 * trusted.alone).all()
        assert (trusted.alone <= DEFAULT_ALONE + 1e-6).all()


def test_the_evidence_of_a_fold_is_counted_without_its_recordings() -> None:
    clips = clips_with(AGREEING, 20)
    fitted = learned(clips)
    assert fitted.assignment is not None
    for fold, head in enumerate(fitted.folds):
        changed = [
            replace(clip, tags={"tags": frozenset()}) if fitted.assignment[clip.group] == fold else clip
            for clip in clips
        ]
        again = learn_cooccurrence(pool, RATE, CONTROLS, changed, fitted)
        before, after = (each.controls["tags"].evidence[0] for each in (head, again.folds[fold]))
        assert np.array_equal(before.agreed, after.agreed)
        assert not np.array_equal(
            fitted.head.controls["tags"].evidence[0].agreed, again.head.controls["tags"].evidence[0].agreed
        )


def test_what_is_learned_survives_bytes_renames_and_removed_labels() -> None:
    head = learned(clips_with(AGREEING)).head
    again = Head.from_bytes(head.to_bytes())
    assert again.to_bytes() == head.to_bytes()
    renamed = parse_label_config(config("new", "y", choice="multiple"))
    served = as_configured(again, renamed, {"label": {"x": "new"}, "tags": {"x": "new"}})
    assert served.controls["label"].labels == ("new", "y")
    factors, before = served.controls["label"].overlap_factors, again.controls["label"].overlap_factors
    assert factors is not None
    assert before is not None
    assert np.array_equal(factors, before)
    less = as_configured(again, parse_label_config(config("y", choice="multiple")), {})
    # A removed region label stays as a competitor that predictions do not show; a removed tag goes.
    assert less.controls["label"].labels == head.controls["label"].labels
    assert less.controls["tags"].labels == ("y",)
    assert less.controls["tags"].evidence[0].missed.shape == (2,)


def test_a_head_stored_without_it_predicts_with_defaults() -> None:
    clips = clips_with(AGREEING)
    fitted, _ = fit_head(pool, RATE, "e-1", CONTROLS, clips)
    data = fitted.head.to_bytes()
    assert b"evidence" not in data
    old = Head.from_bytes(data)
    assert (old.controls["label"].overlap_factors, old.controls["tags"].evidence) == (None, ())
    prediction = predict_clip(old, CONTROLS, pool, RATE, clips[0].frames, 4.0)
    assert (
        {label for label, _ in prediction.tags["tags"]}
        == {region.label for region in prediction.regions}
        == {"x"}
    )


@pytest.mark.parametrize(
    "damage",
    [
        {"overlap_factors": np.ones((3, 3), np.float32)},
        {"evidence": (RegionEvidence.default("label", 3),)},
        {"evidence": (replace(RegionEvidence.default("label", 2), missed=np.full(3, np.nan, np.float32)),)},
    ],
)
def test_what_does_not_fit_together_is_damaged(damage: dict[str, Any]) -> None:
    head = learned(clips_with(AGREEING)).head
    broken = Head("e-1", {"tags": replace(head.controls["tags"], **damage)})
    with pytest.raises(HeadDamagedError, match=r"evidence|factors"):
        Head.from_bytes(broken.to_bytes())


def test_after_five_clips_of_the_demo_no_screen_shows_a_region_without_its_tag() -> None:
    encoder = LogmelEncoder()
    controls = parse_label_config(DEMO_CONFIG.read_text(encoding="utf-8"))
    clips = []
    for number, plan in enumerate(plan_clips(12)):
        data = render(plan, np.random.default_rng([SEED, number, 1]))
        sound, _ = soundfile.read(io.BytesIO(data), dtype="float32")
        regions = tuple(Region(e.onset, e.offset, frozenset([e.label])) for e in plan.events)
        tags = frozenset(event.label for event in plan.events)
        frames = encoder.frames([sound])
        clips.append(AnnotatedClip(frames, plan.duration, plan.name, 1.0, {"label": regions}, {"tags": tags}))
    fitted, _ = fit_head(encoder.pool, encoder.frame_rate, encoder.identity, controls, clips[:5])
    fitted = learn_cooccurrence(encoder.pool, encoder.frame_rate, controls, clips[:5], fitted)
    for clip in clips:
        prediction = predict_clip(
            fitted.head, controls, encoder.pool, encoder.frame_rate, clip.frames, clip.duration
        )
        drawn, shown = {region.label for region in prediction.regions}, dict(prediction.tags["tags"])
        assert drawn <= shown.keys()
        for label in shown.keys() - drawn:
            place = fitted.head.controls["tags"].labels.index(label)
            assert shown[label] >= fitted.head.controls["tags"].thresholds[place]


def test_training_stores_it_with_the_version_that_answers(services: Services, tmp_path: Path) -> None:
    both = config("Low", "High", choice="multiple")
    tasks = make_tones(tmp_path, ["Low", "High"] * 5)
    receive(services, *(webhook(task, both) for task in tasks))
    training = learn(services, KEY)
    assert training is not None
    assert training.outcome == "registered", training.detail
    head = services.head_for(services.serving_version(KEY), parse_label_config(both))
    assert head is not None
    assert head.controls["label"].overlap_factors is not None
    assert head.controls["tags"].evidence[0].regions == "label"
    (item,) = Predictor(services).predict([tasks[0]], KEY, both).items
    assert {label for r in item["result"] for label in r["value"].get("labels", ())} == {"Low"}
    assert {label for r in item["result"] for label in r["value"].get("choices", ())} == {"Low"}
