"""Learning from verified regions: never the opposite of what an annotator said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.head.examples import STRONG_NEGATIVE_WEIGHT, AnnotatedClip, build_examples
from earmark.head.fit import fit_head
from earmark.labels.label_config import parse_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import read_result
from earmark.learning.correction_figures import region_correction
from tests.labels.label_config_cases import WHOOT, drawn, of_region
from tests.pooling import mean_pool as pool

RATE = 12.5
TWITTER, RASP = 0, 1
CONTROLS = parse_label_config(WHOOT)


def clip(number: int, sound: int, items: list[dict[str, Any]]) -> AnnotatedClip:
    """A sound from 1 to 3 s, with what an annotator submitted for it."""
    noise = np.random.default_rng(number).normal(0, 0.1, (75, 4))
    noise[12:38, sound] += 1
    read = read_result(items, CONTROLS)
    return AnnotatedClip(noise.astype(np.float16), 6.0, f"r{number}", regions=read.regions)


def predicted(clips: list[AnnotatedClip], sound: int) -> dict[str, float]:
    fitted, _ = fit_head(pool, RATE, "e-1", CONTROLS, clips)
    head = fitted.head.controls["label"]
    embedding = np.zeros((1, 4), dtype=np.float32)
    embedding[0, sound] = 1
    return dict(zip(head.labels, head.probabilities(embedding)[0].tolist(), strict=True))


CONFIRMED = [drawn("label", "twitter", origin="prediction"), of_region("correct", "choices", ["Correct"])]
REJECTED = [drawn("label", "twitter", origin="prediction"), of_region("correct", "choices", ["Incorrect"])]
CORRECTED = [*REJECTED, of_region("corrected_twitter", "choices", ["rasp"])]


def test_a_correction_teaches_the_new_label() -> None:
    clips = [clip(n, TWITTER, CONFIRMED) for n in range(6)] + [clip(n, RASP, CORRECTED) for n in range(6, 12)]
    twitter, rasp = predicted(clips, TWITTER), predicted(clips, RASP)
    assert twitter["twitter"] > 0.8 > 0.2 > twitter["rasp"]
    assert rasp["rasp"] > 0.8 > 0.2 > rasp["twitter"]


def test_a_rejected_label_is_unlearned() -> None:
    accepted = [drawn("label", "twitter", origin="prediction")]
    confirmed = [clip(n, TWITTER, CONFIRMED) for n in range(6)]
    before = predicted(confirmed + [clip(n, RASP, accepted) for n in range(6, 9)], RASP)
    after = predicted(confirmed + [clip(n, RASP, REJECTED) for n in range(6, 9)], RASP)
    assert after["twitter"] < 0.2 < before["twitter"]


def test_a_suggestion_where_all_was_left_open_is_neither_right_nor_wrong() -> None:
    unnamed = Region(1, 3, frozenset(), is_open=True)
    denied = Region(1, 3, frozenset(), absent=frozenset({"twitter"}), is_open=True)
    suggested = Region(1.2, 2.9, frozenset({"twitter"}))
    assert region_correction([unnamed], [suggested], 6.0).shown == 0
    assert region_correction([denied], [suggested], 6.0).shown == 1
    assert region_correction([unnamed], [Region(2.5, 5, frozenset({"twitter"}))], 6.0).shown == 1


@pytest.mark.parametrize(
    ("region", "targets", "weights"),
    [
        (Region(1, 3, frozenset({"twitter"})), [True, False], [1, 1]),
        (Region(1, 3, frozenset(), is_open=True), [False, False], [0, 0]),
        (
            Region(1, 3, frozenset(), absent=frozenset({"twitter"}), is_open=True),
            [False, False],
            [STRONG_NEGATIVE_WEIGHT, 0],
        ),
        (
            Region(1, 3, frozenset({"rasp"}), absent=frozenset({"twitter"})),
            [False, True],
            [STRONG_NEGATIVE_WEIGHT, 1],
        ),
    ],
    ids=["labelled", "unnamed", "denied", "corrected"],
)
def test_what_a_region_says_of_each_label(region: Region, targets: list[bool], weights: list[float]) -> None:
    frames = np.zeros((75, 4), dtype=np.float16)
    frames[12:38] = 1  # the region's own time
    annotated = AnnotatedClip(frames, 6.0, "r", regions={"label": (region,)})
    examples = build_examples(pool, RATE, CONTROLS[0], [annotated])
    assert examples is not None
    inside = examples.is_unit & (examples.embeddings[:, 0] > 0.99)
    outside = examples.is_unit & (examples.embeddings[:, 0] < 0.01)
    assert inside.any()
    assert (examples.targets[inside] == targets).all()
    full_weight = examples.weights[outside].max()
    assert (examples.weights[outside] > 0).all()
    assert np.allclose(examples.weights[inside] / full_weight, weights, rtol=0.5)
    assert not examples.targets[outside].any()
