"""Runs of the import command that need no Label Studio."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.importing import import_run
from earmark.importing.import_run import Request, run
from earmark.importing.sources import Source
from earmark.settings import Settings


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for a Label Studio without projects."""
    monkeypatch.setattr(import_run, "client_for", lambda _: None)
    monkeypatch.setattr(import_run, "find_project", lambda *_: None)
    return settings.model_copy(update={"label_studio_url": "http://127.0.0.1:1"})


def table_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "report.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("split", [None, 0.1])
def test_a_dry_run_for_a_new_project_knows_what_has_no_place(
    tmp_path: Path,
    settings: Settings,
    write_sound: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    split: float | None,
) -> None:
    write_sound(tmp_path / "in" / "dog" / "a.wav", 1)
    write_sound(tmp_path / "in" / "dog" / "lo.aiff", 2)
    source = Source(str(tmp_path / "in"), folder_labels=True)
    request = Request(
        source, "New one", create=True, dry_run=True, split_seconds=split, report=tmp_path / "report"
    )
    code = run(request, settings)
    printed = capsys.readouterr().out
    rows = table_of(tmp_path / "report")
    if split:  # stretches are uploaded as FLAC, whatever they were cut from
        assert (code, rows["dog/lo.aiff"]["state"]) == (0, "to import")
        return
    assert code == 1
    assert "1 file to import" in printed
    assert "1 left out" in printed
    assert (rows["dog/lo.aiff"]["state"], rows["dog/a.wav"]["state"]) == ("left out", "to import")
    assert "takes no .aiff uploads" in rows["dog/lo.aiff"]["reason"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_when_no_sound_is_left_the_files_are_what_is_told(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str], dry_run: bool
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "in" / name).write_bytes(b"no sound")
    request = Request(
        Source(str(tmp_path / "in")), "New one", create=True, dry_run=dry_run, report=tmp_path / "report"
    )
    assert run(request, settings) == 1
    printed = capsys.readouterr().out
    assert "2 left out" in printed
    assert "a.wav" in printed
    assert {row["state"] for row in table_of(tmp_path / "report").values()} == {"left out"}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_the_labels_of_a_new_project_are_listed_with_likely_errors(
    tmp_path: Path,
    settings: Settings,
    write_sound: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    suffix: str,
) -> None:
    for number, name in enumerate(("a", "b", "c")):
        write_sound(tmp_path / f"{name}.wav", number + 1)
    (tmp_path / "t.csv").write_text(
        f"fname,label,start,end\na{suffix},Acoustic_guitar,0,0.1\nb{suffix},Acoustic_guitar,0,9999\n"
        f"c{suffix},Acoustic_guitax,0,0.1\n"
    )
    request = Request(
        Source(str(tmp_path / "t.csv")), "New one", create=True, dry_run=True, report=tmp_path / "report"
    )
    run(request, settings)
    printed = capsys.readouterr().out
    assert "Acoustic_guitar (2 files), Acoustic_guitax (1 file)" in printed
    assert "'Acoustic_guitar' and 'Acoustic_guitax'" in printed
    assert "1 region that went beyond" in printed
    assert ("a.flac is a.wav" in printed) == (suffix == ".flac")
