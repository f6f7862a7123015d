"""Pairing of label files with the recordings of a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from earmark.importing.sources import Source, list_sounds
from tests.importing.field.cases import FIXTURES, Case, labels_of, prepared


def test_what_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    source = prepared(tmp_path, Case("raven", ("night.wav",), {}))
    (source / "notes.txt").write_text("weather was fine\nand then it rained\n")
    (source / "broken.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\tx\t2\tOwl\n")
    sentences: list[str] = []
    list_sounds(Source(str(source)), sentences.append)
    text = "\n".join(sentences)
    assert "dawn.tsv" in text
    assert "no recording" in text
    assert "notes.txt" in text
    assert "not recognised" in text
    assert "broken.txt" in text
    assert "no number" in text


def test_regions_without_a_name_do_not_mean_that_nothing_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t0\t1\t\n")
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path)), sentences.append)
    assert a.marks == ()
    assert "1 regions in a.txt have no label" in sentences[0]


def test_two_tables_of_a_recording_are_one_annotation(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    for number, label in ((1, "Owl"), (2, "Wren")):
        rows = f"Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t{number}\t{number + 1}\t{label}\n"
        (tmp_path / f"a.Table.{number}.selections.txt").write_text(rows)
    (item,) = list_sounds(Source(str(tmp_path)))
    assert [labels_of(item)] == [[(1.0, 2.0, "Owl"), (2.0, 3.0, "Wren")]]
    assert len(item.marks) == 1


def test_of_recordings_alike_a_table_means_the_one_beside_it(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    shutil.copy(FIXTURES / "birdnet" / "a.BirdNET.results.csv", tmp_path / "y")
    x, y = list_sounds(Source(str(tmp_path)))
    assert (len(labels_of(x)), len(labels_of(y))) == (0, 2)
