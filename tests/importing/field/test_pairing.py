"""Pairing of label files with the recordings of a folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from earmark.export.formats import FORMATS, FormatName
from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord
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


def test_what_is_true_of_many_label_files_is_said_once(tmp_path: Path) -> None:
    header = "Start (s),End (s),Scientific name,Common name,Confidence"
    for number in range(30):
        (tmp_path / f"{number}.wav").touch()
        start = "x" if number < 10 else "0"
        row = f"{start},3,Turdus merula,Eurasian Blackbird,0.8"
        (tmp_path / f"{number}.BirdNET.results.csv").write_text(f"{header}\n{row}\n")
    sentences: list[str] = []
    list_sounds(Source(str(tmp_path)), sentences.append)
    left_out, alternative = sorted(sentences)
    assert left_out.startswith("10 label files")
    assert "19 other label files" in alternative


def test_regions_without_a_name_do_not_mean_that_nothing_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t0\t1\t\n")
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path)), sentences.append)
    assert a.marks == ()
    assert "1 region without a label in a.txt" in sentences[0]


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


def test_a_region_of_two_label_files_comes_in_once(tmp_path: Path) -> None:
    """BirdNET writes a table for each recording and one of all; DESED has tables, tracks and JAMS files."""
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("0.50004\t1.0\tOwl\n0.5\t2.0\tOwl\n3.0\t4.0\tWren\n3.0\t4.0\tWren\n")
    (tmp_path / "all.tsv").write_text(
        "filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.0\tOwl\na.wav\t3.0\t4.0\tOwl\n"
    )
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path)), sentences.append)
    assert sorted(labels_of(a)) == [
        (0.5, 2.0, "Owl"), (0.50004, 1.0, "Owl"), (3.0, 4.0, "Owl"), (3.0, 4.0, "Wren"), (3.0, 4.0, "Wren"),
    ]  # fmt: skip
    assert any(sentence.startswith("1 region ") for sentence in sentences)


@pytest.mark.parametrize("name", ["raven", "audacity", "textgrid", "dcase", "fsdkaggle"])
def test_an_export_beside_its_recordings_says_which_parts_were_annotated(
    tmp_path: Path, name: FormatName
) -> None:
    (tmp_path / "night.wav").touch()
    owl = (RegionRecord(1.0, 2.0, "Owl"),)
    record = ClipRecord("night.wav", regions={"label": owl}, annotated=(AnnotatedSpan(0.0, 30.0),))
    export = tmp_path / "labels" / ("tables" if FORMATS[name].is_folder else "night.csv")
    export.parent.mkdir()
    with FORMATS[name].load().writing(export) as add:
        add([record])
    sentences: list[str] = []
    (night,) = list_sounds(Source(str(tmp_path)), sentences.append)
    assert [record.annotated for record in night.marks] == [record.annotated]
    assert sentences == []
    with FORMATS[name].load().writing(export) as add:
        add([replace(record, source="prediction", annotated=())])
    (night,) = list_sounds(Source(str(tmp_path)))
    assert [record.source for record in night.marks] == ["prediction"]
    (table,) = export.parent.rglob("*annotated.csv")
    table.write_text("sound,start,end,annotator\nnight.wav,x,1,\n")
    (night,) = list_sounds(Source(str(tmp_path)), sentences.append)
    assert night.marks == ()
    assert any("annotated.csv" in sentence for sentence in sentences)


@pytest.mark.parametrize("name", ["annotated.csv", "sounds.csv", "more.annotated.csv"])
def test_a_table_of_labels_may_have_the_name_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / name).write_text("fname,label\na.wav,owl\n")
    (a,) = list_sounds(Source(str(tmp_path)))
    assert labels_of(a) == [("owl",)]
