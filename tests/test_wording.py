"""Numbers with nouns, and commands that can be typed where the program is not on PATH."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from earmark.wording import counted, first_named, program, runnable


def test_a_number_has_its_noun() -> None:
    assert [counted(number, "file") for number in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    assert counted(2, "recording has", "recordings have") == "2 recordings have"


def test_the_first_names_stand_for_all() -> None:
    assert [first_named(range(count), 2) for count in (1, 2, 5)] == ["0", "0, 1", "0, 1 and 3 more"]


def test_commands_are_named_as_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "earmark").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    assert runnable("Run 'earmark up' of the earmark.") == "Run '.venv/bin/earmark up' of the earmark."
    assert runnable("earmark weights (327 MB)") == ".venv/bin/earmark weights (327 MB)"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program() == str(folder / "earmark")
    monkeypatch.setenv("PATH", str(folder))
    assert runnable("Run 'earmark up'.") == "Run 'earmark up'."


def test_another_installation_on_path_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "earmark").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "own" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path)
    assert program() == "own/earmark"
