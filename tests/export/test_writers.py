"""Atomic writing of exports, and refusal to overwrite other files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import ConfigurationError
from earmark.export.writers import (
    INDEX,
    FileNames,
    check_target,
    seconds_text,
    writing_folder,
    writing_text,
)


def test_nothing_is_replaced_without_force(tmp_path: Path) -> None:
    file, folder, missing = tmp_path / "a.csv", tmp_path / "a", tmp_path / "b"
    file.write_text("mine")
    folder.mkdir()
    check_target(missing, is_folder=False, force=False)
    for path, is_folder in ((file, False), (folder, True)):
        with pytest.raises(ConfigurationError, match="--force"):
            check_target(path, is_folder, force=False)
        check_target(path, is_folder, force=True)
        with pytest.raises(ConfigurationError, match="choose another"):
            check_target(path, not is_folder, force=True)


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="other things"):
        check_target(tmp_path, is_folder=True, force=True)
    (tmp_path / INDEX).write_text("")
    check_target(tmp_path, is_folder=True, force=True)


def test_a_folder_is_replaced_in_one_step_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with writing_folder(path) as part:
        (part / "old").write_text("")
    with pytest.raises(RuntimeError), writing_folder(path) as part:
        raise RuntimeError
    assert [entry.name for entry in path.iterdir()] == ["old"]
    with writing_folder(path) as part:
        (part / "new").write_text("")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_the_disk_says_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for open_one in (writing_text, writing_folder):
        with pytest.raises(ConfigurationError, match="cannot be written"), open_one(tmp_path / "file" / "x"):
            pass


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_times_read_back_exactly_and_have_no_exponent(seconds: float) -> None:
    text = seconds_text(seconds)
    assert float(text) == seconds
    assert "e" not in text.lower()
    assert Decimal(text) == Decimal(repr(seconds))


@pytest.mark.parametrize("name", ["..0", "...wav", "a/..0", ".hidden", ". .wav", "a..wav"])
def test_files_of_sounds_keep_their_suffix(tmp_path: Path, name: str) -> None:
    path = FileNames(tmp_path, ()).new_path(name, ".jams")
    assert path.suffix == ".jams"
    assert path.is_relative_to(tmp_path)
