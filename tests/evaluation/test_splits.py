"""Splits: no recording on both sides, folds by a field, and fixed test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import ConfigurationError
from earmark.evaluation.splits import Placed, SplitRules, splits_of


def placed(number: int, recording: str, *labels: str, **data: Any) -> Placed:
    return Placed(number, f"{number}.wav", recording, data, frozenset(labels))


@given(
    recordings=st.lists(st.sampled_from("abcdefgh"), min_size=4, max_size=30),
    sites=st.lists(st.sampled_from(["north", "south", "west"]), min_size=30, max_size=30),
    by=st.sampled_from(["recording", "site"]),
)
def test_no_recording_and_no_group_is_on_both_sides(recordings: list[str], sites: list[str], by: str) -> None:
    sounds = [placed(n, recording, site=site) for n, (recording, site) in enumerate(zip(recordings, sites))]  # noqa: B905
    try:
        splits = splits_of(sounds, SplitRules(by))
    except ConfigurationError:
        if by == "recording":
            assert len({s.recording for s in sounds}) < 2
        return
    tested = [place for split in splits for place in split.test]
    assert len(tested) == len(set(tested))
    if by == "recording":
        assert sorted(tested) == list(range(len(sounds)))
    for split in splits:
        train, test = ([sounds[place] for place in side] for side in (split.train, split.test))
        assert not {s.recording for s in train} & {s.recording for s in test}
        if by == "site":
            assert not {s.data["site"] for s in train} & {s.data["site"] for s in test}


def test_a_field_of_few_values_has_a_fold_for_each() -> None:
    sounds = [placed(n, str(n), fold=1 + n % 10) for n in range(30)]
    splits = splits_of(sounds, SplitRules("fold"))
    assert [split.name for split in splits] == [str(n) for n in range(1, 11)]
    assert all(len(split.test) == 3 for split in splits)
    with pytest.raises(ConfigurationError, match="30 of 30"):
        splits_of(sounds, SplitRules("site"))
    with pytest.raises(ConfigurationError, match="need two"):
        splits_of([placed(1, "a"), placed(2, "a")], SplitRules())


def test_values_of_a_field_that_share_all_recordings_are_refused() -> None:
    sounds = [placed(n, "a", site=f"s{n % 2}") for n in range(4)]
    with pytest.raises(ConfigurationError, match="--folds-by"):
        splits_of(sounds, SplitRules("site"))


def test_a_fixed_test_set_leaves_its_recordings_out_of_the_training(tmp_path: Path) -> None:
    sounds = [placed(n, str(n // 2), split="test" if n in (0, 5) else "dev") for n in range(8)]
    (split,) = splits_of(sounds, SplitRules(test="split=test"))
    assert (split.test.tolist(), split.train.tolist()) == ([0, 5], [2, 3, 6, 7])
    listed = tmp_path / "test.txt"
    listed.write_text("0\n5.wav\n")
    (same,) = splits_of(sounds, SplitRules(test=str(listed)))
    assert same.test.tolist() == [0, 5]
    for wrong, words in (("split=none", "marks 0"), ("kind=x", "no annotated task|No annotated task"),
                         (str(tmp_path / "gone"), "cannot be read")):  # fmt: skip
        with pytest.raises(ConfigurationError, match=words):
            splits_of(sounds, SplitRules(test=wrong))
