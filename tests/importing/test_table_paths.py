"""Files that the names of a table mean."""

from __future__ import annotations

from pathlib import Path

from earmark.importing.sources import Source, list_sounds


def test_a_name_that_fits_several_recordings_is_not_guessed(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    (tmp_path / "t.csv").write_text("fname,label\na,owl\n")
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path / "t.csv")), sentences.append)
    assert a.path is None or not a.path.is_file()
    assert any("fit several" in sentence for sentence in sentences)
