"""Edges move to the largest change of level near them, within the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from earmark.prediction.edge_refinement import LARGEST_MOVE_SECONDS, LARGEST_MOVE_SHARE, refine_edges

RATE = 22_050
SECONDS = 6.0
EVENT = (2.0, 4.0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(3)
    time = np.arange(int(SECONDS * RATE)) / RATE
    sounding = (time >= EVENT[0]) & (time < EVENT[1])
    wave = random.standard_normal(time.size) * np.where(sounding, 0.1, 0.001)
    path = tmp_path_factory.mktemp("edges") / "event.wav"
    soundfile.write(path, wave, RATE)
    return path


@pytest.mark.parametrize(("start", "end"), [(1.8, 4.25), (2.2, 3.8), (2.0, 4.0), (1.75, 3.75)])
def test_edges_are_found(recording: Path, start: float, end: float) -> None:
    refined = refine_edges(recording, start, end, SECONDS)
    assert np.allclose(refined, EVENT, atol=0.02)


@pytest.mark.parametrize(("start", "end"), [(0.2, 1.2), (2.5, 3.4), (1.2, 4.8), (0.0, SECONDS)])
def test_edges_with_no_change_near_them_stay(recording: Path, start: float, end: float) -> None:
    assert refine_edges(recording, start, end, SECONDS) == (start, end)


@given(start=st.floats(0, SECONDS - 0.01), length=st.floats(0.01, SECONDS))
def test_no_edge_moves_far_and_none_crosses(recording: Path, start: float, length: float) -> None:
    end = min(start + length, SECONDS)
    onset, offset = refine_edges(recording, start, end, SECONDS)
    reach = min(LARGEST_MOVE_SECONDS, LARGEST_MOVE_SHARE * (end - start)) + 1e-9
    assert abs(onset - start) <= reach
    assert abs(offset - end) <= reach
    assert 0 <= onset < offset <= SECONDS


def test_a_recording_that_is_shorter_than_was_thought_keeps_its_edges(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(100), RATE)
    assert refine_edges(path, 1.0, 2.0, 3.0) == (1.0, 2.0)
