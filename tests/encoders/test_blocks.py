"""Rechunking: what pieces and windows hold does not depend on how the stream was cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.encoders.blocks import rechunk, sliding_windows


@given(
    samples=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    hop=st.integers(1, 7),
    longer=st.integers(0, 20),
    at_once=st.integers(1, 4),
)
def test_windows_are_centred_on_their_hops(
    samples: int, cuts: list[int], hop: int, longer: int, at_once: int
) -> None:
    sound, window = np.arange(1, samples + 1, dtype=np.float32), hop + longer
    padded = np.pad(sound, (longer // 2, window + hop))
    windows = []
    for chunk, count in sliding_windows(
        np.split(sound, sorted(cuts)), window=window, hop=hop, at_once=at_once
    ):
        assert len(chunk) == (count - 1) * hop + window
        windows += [chunk[index * hop :][:window] for index in range(count)]
    assert len(windows) == max(1, -(-samples // hop))
    for index, actual in enumerate(windows):
        np.testing.assert_array_equal(actual, padded[index * hop :][:window])


def test_what_is_not_finite_is_silence() -> None:
    blocks = [np.array([1, np.nan, -np.inf], np.float32), np.array([1e9], np.float32)]
    np.testing.assert_array_equal(np.concatenate(list(rechunk(blocks, 2))), [1, 0, 0, 1e4])
