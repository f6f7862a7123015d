"""Files that the names of a table mean."""

from __future__ import annotations

from pathlib import Path

from earmark.importing.sources import Source, list_sounds
from tests.importing.field.cases import labels_of


def test_a_name_that_fits_several_recordings_is_not_guessed(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    (tmp_path / "t.csv").write_text("fname,label\na,owl\n")
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path / "t.csv")), sentences.append)
    assert a.path is None or not a.path.is_file()
    assert any("fit several" in sentence for sentence in sentences)


def test_trees_of_a_data_set_side_by_side_are_paired_by_their_folders(tmp_path: Path) -> None:
    """As DESED lies on disk: names of recordings are unique in a folder alone."""
    for part in ("train", "validation"):
        sounds = tmp_path / "audio" / part / f"synthetic21_{part}" / "soundscapes"
        sounds.mkdir(parents=True)
        (sounds / "0.wav").touch()
        table = tmp_path / "metadata" / part / f"synthetic21_{part}" / "soundscapes.tsv"
        table.parent.mkdir(parents=True)
        table.write_text(f"filename\tonset\toffset\tevent_label\n0.wav\t0.5\t1.0\t{part}\n")
    for part in ("train", "validation"):
        expected = f"audio/{part}/synthetic21_{part}/soundscapes/0.wav"
        by_name = {item.fname: labels_of(item) for item in list_sounds(Source(str(tmp_path)))}
        assert by_name[expected] == [(0.5, 1.0, part)]
        table = tmp_path / "metadata" / part / f"synthetic21_{part}" / "soundscapes.tsv"
        (alone,) = list_sounds(Source(str(table)))
        assert (alone.fname, alone.path) == (expected, tmp_path / expected)
