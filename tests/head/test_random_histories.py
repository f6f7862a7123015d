"""Random annotation histories through fit, comparison and prediction: finite numbers, valid JSON, own errors.

Each history annotates clips one by one in an order of its own: few or many labels, some rare, some wrong,
some annotations deleted again, some sounds equal or silent. After some steps a head is fitted, given the
version before it, compared with that version, stored, read again and asked for predictions.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.encoders.logmel import LogmelEncoder
from earmark.errors import NotEnoughAnnotationsError
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip, build_all
from earmark.head.fit import FitReport, fit_head
from earmark.head.regression_check import compare
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.sound_prediction import result_items
from tests.examples import with_examples

pytestmark = pytest.mark.slow

RATE = 12.5
FRAMES = 10
SECONDS = FRAMES / RATE


def pool(frames: NDArray[np.floating]) -> NDArray[np.float32]:
    both = np.concatenate([frames.mean(axis=-2), frames.std(axis=-2)], axis=-1)
    pooled: NDArray[np.float32] = both.astype(np.float32)
    return pooled


@dataclass(frozen=True)
class History:
    """What happens to a project: clips, in the order in which they are annotated, or deleted again (None).

    ``every``: after so many of them a head is fitted.
    """

    control: Control
    every: int
    clips: tuple[AnnotatedClip | None, ...]
    unseen: NDArray[np.float32]


@st.composite
def histories(draw: st.DrawFn, kind: ControlType) -> History:
    """Few choices, and a seed for all others: Hypothesis shrinks the former, which are what matters."""
    labels = tuple("ABCDEFGH"[: draw(st.integers(2, 8))])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.sampled_from([3, 8, 20, 30]))
    # As many as there are recordings or fewer, and far more, as every encoder has
    dimensions = draw(st.sampled_from([3, 100]))
    wrong = draw(st.sampled_from([0.0, 0.1, 0.3, 0.6]))
    deleted = draw(st.sampled_from([0.0, 0.1, 0.4]))
    skew = draw(st.sampled_from([0.3, 1.0, 10.0]))
    spread = draw(st.sampled_from([0.0, 1e-6, 0.3, 1.0, 3.0, 30.0]))
    constant = dimensions * draw(st.sampled_from([0, 0, 1, 2, 3])) // 3
    recordings = draw(st.sampled_from([3, 10, 100]))
    control = Control("x", "audio", kind, labels, "audio")
    centres = rng.normal(size=(len(labels), dimensions)) * draw(st.sampled_from([0.0, 0.3, 1.0, 100.0]))
    shares = rng.dirichlet(np.full(len(labels), skew))
    clips: list[AnnotatedClip | None] = []
    for _ in range(count):
        if rng.uniform() < deleted:
            clips.append(None)
            continue
        true = rng.choice(len(labels), p=shares)
        annotated = rng.integers(len(labels)) if rng.uniform() < wrong else true
        points = centres[true] + spread * rng.standard_t(3, size=dimensions)
        points = points + 0.1 * spread * rng.normal(size=(FRAMES, dimensions))
        points[:, :constant] = -4.0
        clip = AnnotatedClip(
            points.astype(np.float32),
            SECONDS,
            f"r{rng.integers(recordings)}",
            float(rng.choice([1.0, 1.5, 2.0])),
        )
        clips.append(_annotated(clip, control, rng, int(annotated)))
    unseen = np.concatenate(
        [
            centres[0] + rng.normal(size=(FRAMES, dimensions)),
            np.full((1, dimensions), 3e4),
            np.zeros((1, dimensions)),
        ]
    )
    return History(control, draw(st.sampled_from([1, 4, 9])), tuple(clips), unseen.astype(np.float32))


def _annotated(
    clip: AnnotatedClip, control: Control, rng: np.random.Generator, annotated_label: int
) -> AnnotatedClip:
    labels = frozenset([control.labels[annotated_label]])
    if control.type == SINGLE_CHOICE:
        return replace(clip, tags={"x": labels})
    others = frozenset(np.array(control.labels)[rng.uniform(size=len(control.labels)) < 0.2].tolist())
    labels = labels | others if rng.uniform() < 0.8 else frozenset()
    if control.type == MULTIPLE_CHOICE:
        return replace(clip, tags={"x": labels}, tag_weights={"x": float(rng.choice([0.5, 1.0]))})
    start, end = np.sort(rng.uniform(0, SECONDS, size=2)).tolist()
    return replace(clip, regions={"x": tuple(Region(start, end, frozenset([label])) for label in labels)})


def run(history: History) -> int:
    """Go through a history as a project does; tells how many heads were fitted."""
    control, present, active, fits = history.control, list[AnnotatedClip](), None, 0
    for step, clip in enumerate(history.clips):
        if clip is not None:
            present.append(clip)
        elif present:
            present.pop(step % len(present))
        if (step + 1) % history.every and step + 1 < len(history.clips):
            continue
        built = build_all(pool, RATE, [control], present)
        try:
            candidate, report = fit_head(pool, RATE, "synthetic-1", [control], present, None, active, built)
        except NotEnoughAnnotationsError:
            continue
        fits += 1
        check_report(report)
        stored = CrossValidatedHead.from_bytes(candidate.head.to_bytes(), candidate.folds_to_bytes())
        if active is not None:
            comparison = compare(pool, RATE, [control], present, stored, active, built)
            json.dumps([comparison.candidate, comparison.active], allow_nan=False)
        for frames in (present[-1].frames if present else history.unseen, history.unseen):
            check_prediction(stored, control, np.asarray(frames))
        active = stored
    return fits


def check_report(report: FitReport) -> None:
    for control in report.controls.values():
        for figures in (control.metrics, *control.per_class.values()):
            assert all(math.isfinite(value) for value in figures.values()), figures


def check_prediction(fitted: CrossValidatedHead, control: Control, frames: NDArray[np.floating]) -> None:
    prediction = predict_clip(fitted.head, (control,), pool, RATE, frames, len(frames) / RATE)
    items = result_items(prediction, (control,), len(frames) / RATE, seed="1")
    json.dumps({"score": prediction.score, "result": items, "all": prediction.probabilities}, allow_nan=False)
    assert 0 <= prediction.score <= 1
    for values in prediction.probabilities.values():
        assert all(0 <= value <= 1 for value in values.values()), values
        if control.type == SINGLE_CHOICE and values:
            assert sum(values.values()) == pytest.approx(1, abs=1e-4)


@given(histories(SINGLE_CHOICE))
@with_examples(30)
def test_single_choices_stay_finite(history: History) -> None:
    run(history)


@given(histories(MULTIPLE_CHOICE))
@with_examples(12)
def test_several_tags_stay_finite(history: History) -> None:
    run(history)


@given(histories(REGION_LABELS))
@with_examples(12)
def test_regions_stay_finite(history: History) -> None:
    run(history)


@pytest.fixture(scope="module")
def three_instruments(shared_audio: Path) -> list[tuple[AnnotatedClip, str]]:
    """The first 20 clips of three instruments, in the order of the list that names them."""
    folder, encoder, clips = shared_audio / "instruments", LogmelEncoder(), []
    with (folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["labels"] in ("Flute", "Cello", "Hi_hat")]
    for row in rows[:20]:
        sound, rate = soundfile.read(folder / row["fname"], dtype="float32", always_2d=True)
        mono = soxr.resample(sound.mean(axis=1), rate, encoder.sample_rate)
        clip = AnnotatedClip(encoder.frames([mono]), len(mono) / encoder.sample_rate, row["fname"])
        clips.append((clip, row["labels"]))
    return clips


def test_instruments_annotated_one_by_one_keep_every_label(
    three_instruments: list[tuple[AnnotatedClip, str]],
) -> None:
    encoder = LogmelEncoder()
    control = Control("x", "audio", SINGLE_CHOICE, ("Flute", "Cello", "Hi_hat"), "audio")
    clips = [replace(clip, tags={"x": frozenset([label])}) for clip, label in three_instruments]
    active = None
    for count in range(3, 21):
        active, report = fit_head(
            encoder.pool, encoder.frame_rate, encoder.identity, [control], clips[:count], None, active
        )
        check_report(report)
        head = active.head.controls["x"]
        assert count < 7 or head.labels == control.labels
        probabilities = head.probabilities(np.stack([encoder.pool(clip.frames) for clip in clips]))
        assert np.isfinite(probabilities).all()
