"""Placement of decoded frames by their time stamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.timeline import LONGEST_SILENCE_SECONDS, Timeline
from earmark.errors import SoundUnreadableError

RATE = 1000
FRAME = 20


def placed(stamps: list[int | None], origin: int | None = 0, jitter: bool = False) -> list[int]:
    timeline = Timeline(RATE, origin, "a.webm", frame_jitter=jitter)
    return [timeline.place(stamp, FRAME) for stamp in stamps]


def test_frames_in_a_row_stay_as_they_are() -> None:
    assert placed([0, 20, 40, 60]) == [0, 0, 0, 0]


def test_a_late_start_is_silence() -> None:
    assert placed([700, 720]) == [700, 0]


def test_a_start_is_at_zero_where_time_stamps_have_no_origin() -> None:
    assert placed([700, 720], origin=None) == [0, 0]


def test_a_start_at_a_time_of_the_day_is_at_zero() -> None:
    late = int(LONGEST_SILENCE_SECONDS * RATE) + 1
    assert placed([late, late + 20, late + 60]) == [0, 0, 20]


def test_a_gap_is_silence_and_all_after_it_is_in_time() -> None:
    timeline = Timeline(RATE, 0, "a.webm")
    assert [timeline.place(stamp, FRAME) for stamp in (0, 20, 1040, 1060)] == [0, 0, 1000, 0]
    assert (timeline.position, timeline.inserted) == (1080, 1000)


def test_a_lost_packet_is_silence() -> None:
    assert placed([0, 20, 60]) == [0, 0, 20]


def test_frames_without_time_stamps_follow_each_other() -> None:
    assert placed([0, None, None, 60, 180]) == [0, 0, 0, 0, 100]


def test_rounded_time_stamps_make_no_gaps() -> None:
    assert placed([0, 21, 39, 62, 80, 99]) == [0] * 6


def test_a_codec_may_jitter_by_a_frame() -> None:
    assert placed([0, 20, 58, 60], jitter=True) == [0] * 4


def test_slowly_drifting_time_stamps_are_ignored() -> None:
    assert placed([index * 22 for index in range(200)]) == [0] * 200


def test_jitter_adds_up_to_no_more_than_its_extent() -> None:
    timeline = Timeline(RATE, 0, "a.webm")
    for index in range(1000):
        timeline.place(index * FRAME + (30 if index % 7 == 3 else 0), FRAME)
    assert timeline.inserted <= 30


def test_an_appended_file_follows() -> None:
    frames = [*range(0, 600, FRAME), 0, 20, 60]
    assert placed(list(frames)) == [*[0] * (len(frames) - 1), 20]


def test_a_new_part_follows_whatever_its_time_stamp() -> None:
    timeline = Timeline(RATE, 0, "a.mp3")
    timeline.place(0, FRAME)
    timeline.restart()
    assert timeline.place(500, FRAME) == 0
    assert timeline.place(620, FRAME) == 100


def test_an_absurd_leap_is_an_error() -> None:
    with pytest.raises(SoundUnreadableError, match=r"a\.webm"):
        placed([0, 20, 10**9])


@given(st.lists(st.none() | st.integers(-5000, 5000), max_size=50), st.booleans())
def test_silence_is_never_negative_and_is_counted(stamps: list[int | None], from_zero: bool) -> None:
    timeline = Timeline(RATE, 0 if from_zero else None, "a.webm")
    silences = [timeline.place(stamp, FRAME) for stamp in stamps]
    assert all(silence >= 0 for silence in silences)
    assert timeline.inserted == sum(silences)
    assert timeline.position == timeline.inserted + FRAME * len(stamps)
