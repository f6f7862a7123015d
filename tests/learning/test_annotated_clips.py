"""Weights of annotations by trust, and grouping of sounds by recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from earmark.features.extractor import EncodedSound
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.result_reader import read_result
from earmark.learning.annotated_clips import (
    GROUND_TRUTH_WEIGHT,
    REVIEWED_WEIGHT,
    TRUST_WEIGHTS,
    AnnotatedSound,
    annotated_clips,
)
from earmark.store.models import Annotation, Task
from tests.lessons import config, result_of

CONTROLS = parse_label_config(config("Low", "High"))


def annotated_sound(
    data: dict[str, Any] | None = None, digest: str = "a" * 64, **annotation: Any
) -> AnnotatedSound:
    row = Annotation(project_key="1.1", annotation_id=1, result=result_of("Low"), **annotation)
    task = Task(project_key="1.1", task_id=1, data={"audio": "/x.wav", **(data or {})})
    sound = EncodedSound(digest, 3.0, np.zeros((4, 2), np.float16))
    return AnnotatedSound(row, task, read_result(row.result, CONTROLS, {}), {"audio": sound})


@pytest.mark.parametrize(
    ("data", "annotation", "weight"),
    [
        ({}, {}, 1.0),
        ({}, {"ground_truth": True, "reviewed": True}, GROUND_TRUTH_WEIGHT),
        ({}, {"reviewed": True}, REVIEWED_WEIGHT),
        # Label Studio marks imported annotations as ground truth; the import knows better
        ({"label_trust": "noisy"}, {"ground_truth": True}, TRUST_WEIGHTS["noisy"]),
        ({"label_trust": "curated"}, {"ground_truth": True}, TRUST_WEIGHTS["curated"]),
        # A person has worked on it since
        ({"label_trust": "noisy"}, {"shown_at": 1.7e9}, 1.0),
        ({"label_trust": "noisy"}, {"worked_on": True}, 1.0),
        ({"label_trust": "noisy"}, {"worked_on": True, "ground_truth": True}, GROUND_TRUTH_WEIGHT),
        ({"label_trust": ["noisy"]}, {}, 1.0),
    ],
)
def test_weights(data: dict[str, Any], annotation: dict[str, Any], weight: float) -> None:
    (clip,) = annotated_clips([annotated_sound(data, **annotation)], CONTROLS)
    assert clip.weight == weight


def test_stretches_of_one_recording_belong_together() -> None:
    whole = "f" * 64
    stretches = [annotated_sound({"source_sha256": whole}, digest=letter * 64) for letter in "ab"]
    clips = annotated_clips(
        [*stretches, annotated_sound(digest="c" * 64), annotated_sound({"source_sha256": 7})], CONTROLS
    )
    assert [clip.group for clip in clips] == [whole, whole, "c" * 64, "a" * 64]
