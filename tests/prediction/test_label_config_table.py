"""Every label config of the table: what is learned of its annotation, and what is predicted for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.head.model import ControlHead, Head
from earmark.labels.control import Control, learned_controls, with_options
from earmark.labels.label_config import read_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import read_result, visible_items
from earmark.prediction.label_mapping import as_configured
from earmark.prediction.postprocessing import predict_clip
from earmark.prediction.predictor import sound_address, sound_addresses, task_controls
from earmark.prediction.sound_prediction import result_items
from tests.labels.label_config_cases import CASES, Case
from tests.lazily import Lazy
from tests.pooling import mean_pool as pool

sdk = Lazy("label_studio_sdk.label_interface.interface")

RATE, SECONDS = 12.5, 6.0
TIMES = {"start", "end", "channel", "ranges"}


def controls_of(case: Case) -> tuple[Control, ...]:
    return with_options(read_label_config(case.config).controls, [case.data])


def test_there_are_enough_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_annotations_are_learned_as_they_are_meant(case: Case) -> None:
    read = read_result(case.result, controls_of(case), data=case.data)
    assert {name: [shorthand(r) for r in regions] for name, regions in read.regions.items() if regions} == (
        case.regions
    )
    assert read.tags == case.tags
    assert read.hidden == case.hidden
    assert read.open_tags == case.open_tags
    assert {left.name for left in read_label_config(case.config).ignored} == case.ignored
    weights = {region.weight for regions in read.regions.values() for region in regions}
    assert weights <= {1.0}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_predictions_are_written_as_the_editor_reads_them(case: Case) -> None:
    items = predicted(case)
    values_by_control = {
        (item["from_name"], item["to_name"]): {k: v for k, v in item["value"].items() if k not in TIMES}
        for item in items
    }
    assert values_by_control == case.predicted
    again = read_result(items, controls_of(case), data=case.data)
    for region in (region for regions in again.regions.values() for region in regions):
        assert (region.start, region.end) == pytest.approx((1, 3), abs=0.2)
    assert sum(map(len, again.regions.values())) + len(again.tags) == len(items)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_label_studio_accepts_annotations_and_predictions(case: Case) -> None:
    interface = sdk.LabelInterface(case.config)
    predictions: dict[str, Any] = {"result": predicted(case), "score": 0.5, "model_version": "v"}
    errors = interface.validate_prediction(predictions, return_errors=True)
    errors += interface.validate_prediction({"result": case.result}, return_errors=True)
    assert bool(errors) == bool(case.sdk_refuses), errors


def shorthand(region: Region) -> tuple[float, float, set[str]]:
    denied = {f"-{label}" for label in region.absent}
    return region.start, region.end, {*region.labels, *denied, *({"?"} if region.is_open else ())}


def predicted(case: Case) -> list[dict[str, Any]]:
    """Predict a sound in which each control's first label sounds from 1 to 3 s."""
    controls = controls_of(case)
    learned = learned_controls(controls)
    width = sum(len(control.labels) for control in learned)
    heads, dimensions, first = {}, [], 0
    for control in learned:
        heads[control.name] = head_of(control, width, first)
        dimensions.append(first)
        first += len(control.labels)
    frames = np.zeros((round(SECONDS * RATE), width), dtype=np.float16)
    frames[round(RATE) : round(3 * RATE), dimensions] = 1
    items: list[dict[str, Any]] = []
    for data_key in sound_addresses({"data": case.data}, controls):
        assert sound_address({"data": case.data}, data_key).endswith((".wav", ".mp4"))
        same_sound = task_controls(controls, data_key, case.data)
        head = as_configured(Head("e-1", heads), same_sound, {})
        prediction = predict_clip(head, same_sound, pool, RATE, frames, SECONDS)
        items += result_items(prediction, same_sound, SECONDS, "1")
    return visible_items(items, controls)


def head_of(control: Control, width: int, first: int) -> ControlHead:
    """Label k of the control is likely where dimension ``first + k`` is high."""
    count = len(control.labels)
    weights: NDArray[np.float32] = np.zeros((width, count), dtype=np.float32)
    weights[first : first + count] = 40 * np.eye(count, dtype=np.float32)
    # Of a clip a third of the frames sound, of a region all do
    bias = -20.0 if control.type.draws_regions else -6.0
    return ControlHead(
        control.name,
        control.type,
        control.labels,
        np.zeros(width, dtype=np.float32),
        np.ones(width, dtype=np.float32),
        weights,
        np.full(count, bias, dtype=np.float32),
        np.full(count, 0.5, dtype=np.float32),
    )
