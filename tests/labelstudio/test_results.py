"""Result items in Label Studio's format, read and written."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import read_label_config
from earmark.labels.region import Region
from earmark.labelstudio.result_reader import ACCEPTED_WEIGHT, read_result
from earmark.labelstudio.results import choices_item, region_item
from tests.labels.label_config_cases import CASES, Case

REGIONS = Control("label", "audio", REGION_LABELS, ("Flute", "Cello"), "audio")
TAGS = Control("tags", "audio", MULTIPLE_CHOICE, ("music", "noise"), "audio")
CONTROLS = (REGIONS, TAGS)


def test_what_the_interface_writes_is_read() -> None:
    """Both items were recorded from Label Studio 1.23.2."""
    result = [
        {
            "original_length": 4.52,
            "value": {"start": 2.4857, "end": 3.3217, "channel": 0, "labels": ["Flute"]},
            "id": "FozhQ",
            "from_name": "label",
            "to_name": "audio",
            "type": "labels",
            "origin": "manual",
        },
        {
            "value": {"choices": ["music"]},
            "id": "r1t",
            "from_name": "tags",
            "to_name": "audio",
            "type": "choices",
            "origin": "prediction",
            "score": 0.5,
        },
    ]
    read = read_result(result, CONTROLS)
    assert read.regions == {"label": (Region(2.4857, 3.3217, frozenset({"Flute"})),)}
    assert read.tags == {"tags": frozenset({"music"})}


def test_an_empty_annotation_says_that_nothing_sounds_and_nothing_of_tags() -> None:
    read = read_result([], CONTROLS)
    assert read.regions == {"label": ()}
    assert read.tags == {}


def test_labels_that_the_config_lost_are_dropped() -> None:
    lost_region = {"from_name": "label", "value": {"start": 0, "end": 1, "labels": ["Kazoo"]}}
    both = {"from_name": "label", "value": {"start": 0, "end": 1, "labels": ["Kazoo", "Flute"]}}
    assert read_result([lost_region, both], CONTROLS).regions["label"] == (
        Region(0, 1, frozenset({"Flute"})),
    )


seconds = st.floats(0, 3600, allow_nan=False).map(lambda value: round(value, 6))


lengths = st.floats(0.001, 100).map(lambda value: round(value, 6))


@given(seconds, lengths, st.sampled_from(REGIONS.labels), st.floats(0, 1))
def test_a_region_written_is_the_region_read(start: float, length: float, label: str, score: float) -> None:
    item = region_item(REGIONS, start, start + length, label, score, start + length, "seed")
    (region,) = read_result([item], CONTROLS).regions["label"]
    assert math.isclose(region.start, start, abs_tol=1e-5)
    assert math.isclose(region.end, start + length, abs_tol=1e-5)
    assert region.labels == {label}
    assert (item["from_name"], item["to_name"], item["type"]) == ("label", "audio", "labels")


def test_tags_written_are_the_tags_read_and_ids_tell_items_apart() -> None:
    item = choices_item(TAGS, ["music", "noise"], 0.75, "seed")
    assert read_result([item], CONTROLS).tags == {"tags": frozenset({"music", "noise"})}
    others = [choices_item(TAGS, ["music"], 0.75, "seed"), choices_item(TAGS, ["music", "noise"], 0.75, "x")]
    assert len({item["id"], *(other["id"] for other in others)}) == 3


junk = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["label", "tags", "Flute", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from_name", "value", "start", "end", "labels", "choices", "id"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(st.lists(junk, max_size=4))
def test_nothing_that_is_sent_breaks_reading(result: list[Any]) -> None:
    read = read_result(result, CONTROLS)
    for region in read.regions["label"]:
        assert 0 <= region.start < region.end < math.inf
        assert region.labels <= set(REGIONS.labels)
    assert all(labels <= set(TAGS.labels) for labels in read.tags.values())


@given(st.sampled_from(CASES), st.lists(junk, max_size=4), junk, st.randoms(use_true_random=False))
def test_nothing_breaks_reading_of_any_control(case: Case, result: list[Any], data: Any, random: Any) -> None:
    controls = read_label_config(case.config).controls
    mixed: list[Any] = [*result]
    for item in case.result:  # as the editor writes it, with one thing wrong
        wrong = {**item, "value": {**item["value"]}}
        key = random.choice([*wrong["value"], *wrong])
        (wrong["value"] if key in wrong["value"] else wrong)[key] = random.choice([data, None, 1e300, [[]]])
        mixed.append(wrong)
    read = read_result(mixed, controls, data=random.choice([data, case.data]))
    for regions in read.regions.values():
        assert all(0 <= region.start < region.end < math.inf for region in regions)
    assert read.tags.keys() <= {control.name for control in controls}


def _with(item: dict[str, Any], origin: str | None) -> dict[str, Any]:
    return {**{k: v for k, v in item.items() if k != "score"}, **({"origin": origin} if origin else {})}


@pytest.mark.parametrize("end", [1e308, 10**400, 1e9, float("inf"), float("nan"), True, "2", None])
def test_a_time_that_no_recording_has_is_no_region(end: Any) -> None:
    """A whole number of JSON may be larger than any float."""
    item = {"from_name": "label", "value": {"start": 0.5, "end": end, "labels": ["Cello"]}}
    assert read_result([item], CONTROLS).regions["label"] == ()


def test_a_prediction_that_was_accepted_untouched_teaches_less() -> None:
    region = region_item(REGIONS, 0.0, 1.0, "Flute", 0.9, 2.0, "seed")
    tag = choices_item(TAGS, ["music"], 0.9, "seed")
    for origin, weight in (
        ("manual", 1.0),
        ("prediction-changed", 1.0),
        (None, 1.0),  # through the API
        ("prediction", ACCEPTED_WEIGHT),
        ("something new", 1.0),
    ):
        read = read_result([_with(region, origin), _with(tag, origin)], CONTROLS)
        assert [read_region.weight for read_region in read.regions["label"]] == [weight]
        assert read.tag_weights == {"tags": weight}
    # Label Studio's own copies of predictions have no origin and keep the score
    read = read_result([region, tag], CONTROLS)
    assert (read.regions["label"][0].weight, read.tag_weights["tags"]) == (ACCEPTED_WEIGHT, ACCEPTED_WEIGHT)


def test_former_names_are_read_as_the_present_ones() -> None:
    item = {"from_name": "label", "value": {"start": 0, "end": 1, "labels": ["Whistle", "Viola"]}}
    names = {"label": {"Whistle": "Flute"}, "tags": {"Viola": "music"}}
    assert read_result([item], CONTROLS, names).regions["label"] == (Region(0, 1, frozenset({"Flute"})),)
