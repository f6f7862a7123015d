"""Rejoining the stretches of split recordings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.export.records import STRETCHES_FIELD, ClipRecord, RegionRecord, stretch_of
from earmark.export.rejoin_splits import join, rejoin
from tests.examples import with_examples


def piece(start: float, end: float, *regions: tuple[float, float, str], **changes: Any) -> ClipRecord:
    """A task of the stretch from ``start`` to ``end``, regions in its own time."""
    data = {
        "audio": f"/{start}.flac",
        "site": "pond",
        "source": "long.wav",
        "source_start": start,
        "source_end": end,
    }
    region_records = tuple(RegionRecord(*region, annotator="anna") for region in regions)
    base = ClipRecord(
        f"long_{start}.flac", f"/{start}.flac", int(start) + 1, data, end - start,
        regions={"label": region_records}, annotator="anna", id=int(start) + 100,
    )  # fmt: skip
    return replace(base, **changes)


def spans(record: ClipRecord) -> list[tuple[float, float, str]]:
    return [(region.start, region.end, region.label) for region in record.regions["label"]]


def test_regions_are_in_the_time_of_the_whole_and_joined_at_cuts() -> None:
    (whole,) = join([
        piece(0, 30, (1, 2, "Dog"), (28, 30, "Rain"), (29, 30, "Dog")),
        piece(30, 60, (0, 30, "Rain"), (0.5, 1, "Dog")),
        piece(60, 75, (0, 3, "Rain"), (5, 6, "Cat")),
    ])  # fmt: skip
    assert spans(whole) == [
        (1, 2, "Dog"), (28, 63, "Rain"), (29, 30, "Dog"), (30.5, 31, "Dog"), (65, 66, "Cat"),
    ]  # fmt: skip
    assert (whole.file_name, whole.sound, whole.task_id, whole.duration) == ("long.wav", "", None, 75)
    assert whole.data == {
        "site": "pond", "source": "long.wav", STRETCHES_FIELD: [[0, 30], [30, 60], [60, 75]],
    }  # fmt: skip


def test_a_gap_between_stretches_joins_nothing() -> None:
    (whole,) = join([piece(0, 30, (29, 30, "Rain")), piece(60, 90, (0, 1, "Rain"))])
    assert spans(whole) == [(29, 30, "Rain"), (60, 61, "Rain")]


def test_a_player_that_rounds_still_reaches_the_cut() -> None:
    (whole,) = join([piece(0, 30, (29, 30.004, "Rain")), piece(30, 60, (0.006, 1, "Rain"))])
    assert spans(whole) == [(29, 31, "Rain")]


def test_the_score_of_a_joined_region_is_weighted_by_length() -> None:
    first = piece(0, 30, regions={"label": (RegionRecord(27, 30, "Rain", 1.0),)}, source="prediction")
    second = piece(30, 60, regions={"label": (RegionRecord(0, 1, "Rain", 0.2),)}, source="prediction")
    (whole,) = join([first, second])
    assert whole.regions["label"] == (RegionRecord(27, 31, "Rain", 0.8),)


def test_annotators_who_shared_the_work_make_one_recording() -> None:
    (whole,) = join([piece(0, 30, (29, 30, "Rain")), piece(30, 60, (0, 1, "Rain"), annotator="bo")])
    assert spans(whole) == [(29, 31, "Rain")]
    assert whole.annotator is None


def test_annotators_of_one_stretch_stay_apart() -> None:
    records = join([
        piece(0, 30, annotator="bo"), piece(0, 30, (29, 30, "Rain")), piece(30, 60, (0, 1, "Rain")),
    ])  # fmt: skip
    assert [(record.annotator, spans(record)) for record in records] == [
        ("bo", []),
        ("anna", [(29, 31, "Rain")]),
    ]


def test_tags_and_ground_truth_of_stretches() -> None:
    (whole,) = join([
        piece(0, 30, tags={"tags": ("wind",)}, tag_scores={"tags": 0.5}, ground_truth=True),
        piece(30, 60, tags={"tags": ("rain", "wind")}, tag_scores={"tags": 0.75}),
    ])  # fmt: skip
    assert whole.tags == {"tags": ("wind", "rain")}
    assert whole.tag_scores == {"tags": 0.75}
    assert not whole.ground_truth


def test_tasks_of_several_recordings_in_any_order() -> None:
    other = piece(0, 30, (1, 2, "Cat"))
    other = replace(other, data={**other.data, "source": "other.wav"})
    same_name = piece(0, 30, (3, 4, "Owl"))
    same_name = replace(same_name, data={**same_name.data, "source_sha256": "ab"})
    alone = ClipRecord("alone.wav", regions={"label": ()})
    sounds = list(rejoin([
        [piece(30, 60, (0, 1, "Dog"))], [other], [alone], [same_name], [piece(0, 30, (29, 30, "Dog"))],
    ]))  # fmt: skip
    assert sounds[0] == [alone]
    assert sorted((record.file_name, spans(record)) for (record,) in sounds[1:]) == [
        ("long.wav", [(3, 4, "Owl")]), ("long.wav", [(29, 31, "Dog")]), ("other.wav", [(1, 2, "Cat")]),
    ]  # fmt: skip


def test_texts_of_a_table_are_numbers_too() -> None:
    stretch = stretch_of({"source": "a.wav", "source_start": "30", "source_end": "60.5"})
    assert stretch is not None
    assert (stretch.start, stretch.end) == (30, 60.5)


@pytest.mark.parametrize(
    "data",
    [{}, {"source": "a"}, {"source": "", "source_start": 0, "source_end": 1},
     {"source": "a", "source_start": 2, "source_end": 1},
     {"source": "a", "source_start": "x", "source_end": 1},
     {"source": "a", "source_start": True, "source_end": 2},
     {"source": "a", "source_start": 0, "source_end": "inf"}],
)  # fmt: skip
def test_other_data_is_no_stretch(data: dict[str, Any]) -> None:
    assert stretch_of(data) is None


@with_examples(40)
@given(
    st.lists(st.tuples(st.integers(0, 990), st.integers(1, 200), st.sampled_from("ab")), max_size=6),
    st.integers(1, 60),
)
def test_cutting_and_joining_gives_back_what_was_there(
    wanted: list[tuple[int, int, str]], length: int
) -> None:
    """Regions in whole seconds of a recording of 1,200 s; those of one label are at least a second apart."""
    whole: list[tuple[float, float, str]] = []
    for start, seconds, label in sorted(wanted):
        if not any(other == label and start <= end + 1 for _, end, other in whole):
            whole.append((start, start + seconds, label))
    pieces = [
        piece(first, min(first + length, 1200), *[
            (max(start, first) - first, min(end, first + length) - first, label)
            for start, end, label in whole
            if max(start, first) < min(end, first + length)
        ])
        for first in range(0, 1200, length)
    ]  # fmt: skip
    (joined,) = join(pieces)
    assert spans(joined) == sorted(whole)
