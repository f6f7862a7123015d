"""Region scorers learned from annotated recordings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from earmark.features.band_levels import BandLevelMeter
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.model import Head
from earmark.head.region_scorer import RegionScorer
from earmark.labels.control import Control
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.learning.region_scoring import learn_region_scoring, scored_candidates
from earmark.prediction.postprocessing import predict_clip
from tests.pooling import mean_pool as pool

RATE = 12.5
SECONDS = 6.0
CONTROL = Control("label", "audio", REGION_LABELS, ("a", "b"), "audio")


def clips(count: int = 10) -> list[AnnotatedClip]:
    """Noise with a tone of the annotated label, and an equally loud one of no label."""
    rng, made, rate = np.random.default_rng(5), [], BandLevelMeter.sample_rate
    time = np.arange(int(SECONDS * rate)) / rate
    for number in range(count):
        label, start = "ab"[number % 2], 0.5 + 0.2 * (number % 4)
        wave = 0.001 * rng.standard_normal(time.size)
        for first, hertz in ((start, 500.0), (start + 3.0, 3000.0)):
            wave += 0.1 * np.sin(2 * np.pi * hertz * time) * ((time >= first) & (time < first + 1.0))
        frames = 0.05 * rng.normal(size=(int(SECONDS * RATE), 4)).astype(np.float32)
        frames[round(start * RATE) : round((start + 1) * RATE), "ab".index(label)] += 1
        frames[round((start + 3) * RATE) : round((start + 4) * RATE), 3] += 1
        region = Region(start, start + 1.0, frozenset(label))
        made.append(
            AnnotatedClip(
                frames,
                SECONDS,
                f"g{number:02d}",
                regions={"label": (region,)},
                levels=BandLevelMeter().frames([wave.astype(np.float32)]),
            )
        )
    return made


@pytest.fixture(scope="module")
def annotated() -> list[AnnotatedClip]:
    return clips()


@pytest.fixture(scope="module")
def fitted(annotated: list[AnnotatedClip]) -> CrossValidatedHead:
    return fit_head(pool, RATE, "e-1", [CONTROL], annotated)[0]


def scorer_of(head: Head) -> RegionScorer:
    scorer = head.controls["label"].scorer
    assert scorer is not None
    return scorer


def test_candidates_are_worth_what_they_would_save(
    annotated: list[AnnotatedClip], fitted: CrossValidatedHead
) -> None:
    scored = scored_candidates(pool, RATE, CONTROL, annotated, fitted, ("a", "b"))
    assert scored is not None
    assert set(scored.gains.tolist()) <= {-1.0, 0.0, 1.0, 2.0, 3.0}
    assert set(scored.groups.tolist()) == {clip.group for clip in annotated}
    for clip in annotated:
        assert scored.gains[scored.groups == clip.group].max() == 3.0, "one candidate is the annotated region"


def test_scorers_are_learned_and_stored_with_the_heads(
    annotated: list[AnnotatedClip], fitted: CrossValidatedHead
) -> None:
    learned = learn_region_scoring(pool, RATE, [CONTROL], annotated, fitted)
    scorer, default = scorer_of(learned.head), RegionScorer.default(2)
    assert not np.allclose(scorer.weights, default.weights)
    assert scorer.lengths[:, 0] == pytest.approx(0.0, abs=0.1), "all regions are one second long"
    again = Head.from_bytes(learned.head.to_bytes())
    assert scorer_of(again).weights.tolist() == scorer.weights.tolist()
    assert again.to_bytes() == learned.head.to_bytes()
    for head in learned.folds:
        assert not np.array_equal(scorer_of(head).weights, scorer.weights), "its own recordings are left out"


def test_without_levels_or_folds_the_defaults_are_kept(
    annotated: list[AnnotatedClip], fitted: CrossValidatedHead
) -> None:
    default = RegionScorer.default(2)
    silent = [replace(clip, levels=None) for clip in annotated]
    few = fit_head(pool, RATE, "e-1", [CONTROL], annotated[:3])[0]
    for clips_, heads in ((silent, fitted), (annotated[:3], few)):
        scorer = scorer_of(learn_region_scoring(pool, RATE, [CONTROL], clips_, heads).head)
        assert scorer.weights.tolist() == default.weights.tolist()
        assert scorer.offsets.tolist() == [0.0, 0.0]


def test_clear_sounds_of_no_label_are_not_shown_once_annotations_tell(
    annotated: list[AnnotatedClip], fitted: CrossValidatedHead
) -> None:
    learned = learn_region_scoring(pool, RATE, [CONTROL], annotated, fitted)
    for clip in annotated:
        head = learned.out_of_fold_head(clip.group)
        assert head is not None
        detected = predict_clip(head, [CONTROL], pool, RATE, clip.frames, SECONDS, clip.levels).regions
        (region,) = clip.regions["label"]
        assert [(r.label, round(r.start, 1), round(r.end, 1)) for r in detected] == [
            (*region.labels, round(region.start, 1), round(region.end, 1))
        ]
