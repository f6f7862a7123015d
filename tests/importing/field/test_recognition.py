"""Recognition of label files: sample files of every tool and data set, from a folder to listed sounds."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import ConfigurationError, EarmarkError, FormatError
from earmark.importing.field.recognition import LABEL_SUFFIXES
from earmark.importing.field.table_presets import _audioset_label
from earmark.importing.sources import Source, list_sounds
from earmark.importing.table_columns import Columns
from tests.examples import with_examples
from tests.importing.field.cases import CASES, Case, labels_of, prepared


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)
def test_files_of_the_field_are_read_as_they_lie_on_disk(tmp_path: Path, case: Case) -> None:
    sentences: list[str] = []
    announced: list[str] = []
    source = Source(str(prepared(tmp_path, case)))
    listed = {item.fname: item for item in list_sounds(source, sentences.append, announced.append)}
    assert {name: labels_of(item) for name, item in listed.items()} == {
        name: [tuple(label) for label in labels] for name, labels in expected(case).items()
    }
    assert {r.source for item in listed.values() for r in item.marks} == {case.kind}
    assert all(item.path and item.path.is_file() for item in listed.values())
    for name, fields in case.fields.items():
        assert {key: listed[name].fields.get(key) for key in fields} == fields
    assert any(line.startswith(case.announced) for line in announced), announced


def expected(case: Case) -> dict[str, list[tuple[Any, ...]]]:
    """The case's labels, with the display names of AudioSet's classes."""
    return {
        name: [
            tuple(_audioset_label(part) if isinstance(part, str) else part for part in label)
            for label in labels
        ]
        for name, labels in case.labels.items()
    }


def test_options_overrule_what_is_recognised(tmp_path: Path) -> None:
    source = prepared(tmp_path, Case("birdnet", ("a.wav", "d.wav"), {}))
    columns = Columns(labels="Scientific name")
    for path in source.iterdir():
        if path.suffix == ".txt" or "Kaleidoscope" in path.name:
            path.unlink()
    a, d = list_sounds(Source(str(source), columns=columns))
    assert [label[2] for label in labels_of(a)] == ["Turdus merula", "Erithacus rubecula"]
    assert [label[2] for label in labels_of(d)] == ["Turdus merula"]
    (a, d) = list_sounds(Source(str(source), format="none"))
    assert a.marks == d.marks == ()
    calls = prepared(tmp_path, Case("plain/calls.csv", ("a.wav",), {}))
    (a,) = list_sounds(Source(str(calls), columns=Columns(start="none")))
    assert labels_of(a) == [("Owl",), ("Wren",)]
    (a,) = list_sounds(Source(str(calls), columns=Columns(start="start", duration="depth")))
    assert labels_of(a) == [(0.5, 3.5, "Owl"), (2.0, 5.0, "Wren")]


def test_scores_and_separators_are_what_options_say(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("fname,label,p,fold_id\na.wav,owl;at night,0.5,3\n")
    (tmp_path / "a.wav").touch()
    (a,) = list_sounds(Source(str(table), columns=Columns(score="p", fold="fold_id", separator="|")))
    assert labels_of(a) == [("owl;at night", 0.5)]
    assert a.fields == {"fold": 3}
    table.write_text("fname,label,score\na.wav,owl,85\n")
    sentences: list[str] = []
    (a,) = list_sounds(Source(str(table)), sentences.append)
    assert labels_of(a) == [("owl",)]
    assert any("score" in sentence for sentence in sentences)


def test_numbers_stay_numbers_and_codes_stay_text(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("fname,label,depth,code,mixed,when\na.wav,x,100,007,1,1e3\nb.wav,x,13.5,012,a,2\n")
    a, b = list_sounds(Source(str(table)))
    assert a.fields == {"depth": 100.0, "code": "007", "mixed": "1", "when": 1000.0}
    assert b.fields == {"depth": 13.5, "code": "012", "mixed": "a", "when": 2.0}


def test_a_table_over_several_files_without_offsets_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.txt"
    rows = ["Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tAnnotation"]
    rows += ["1\t1\t2\ta.wav\tOwl", "2\t61\t62\tb.wav\tOwl", ""]
    table.write_text("\n".join(rows))
    with pytest.raises(FormatError, match="File Offset"):
        list_sounds(Source(str(table)))


@pytest.mark.parametrize(
    "header",
    [
        "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n",
        "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tAnnotation\n",
        "onset\toffset\tevent_label\n",
        "Start (s),End (s),Scientific name,Common name,Confidence\n",
        "Start (s),End (s),Scientific name,Common name,Confidence,File\n",
    ],
)
def test_a_header_without_rows_means_that_nothing_was_found(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text(header)
    (a,) = list_sounds(Source(str(tmp_path)))
    assert [dict(record.regions) for record in a.marks] == [{"": ()}]
    assert {record.source for record in a.marks} == {"prediction" if "Confidence" in header else "annotation"}


def test_a_format_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("0.5\t1.0\t2 owls\n")
    (item,) = list_sounds(Source(str(tmp_path), format="audacity"))
    assert labels_of(item) == [(0.5, 1.0, "2 owls")]
    (tmp_path / "b.rttm").write_text("no segments\n")
    with pytest.raises(ConfigurationError, match="--format"):
        list_sounds(Source(str(tmp_path / "b.rttm")))


def test_the_columns_of_a_table_are_said(tmp_path: Path) -> None:
    announced: list[str] = []
    calls = prepared(tmp_path, Case("plain/calls.csv", ("a.wav",), {}))
    list_sounds(Source(str(calls)), announce=announced.append)
    assert "label of fname, from start to end" in announced[0]


HEADS = [
    "",
    "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tFile Offset (s)\tAnnotation\n",
    "0.5\t1.0\t",
    "\\\t100\t200\n",
    "Start (s),End (s),Scientific name,Common name,Confidence\n",
    "INDIR,FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID\n",
    "a.wav\t0.5\t1.0\tOwl\n",
    "SPEAKER a 1 0.5 1.0 <NA> <NA> ",
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n',
    '<?xml version="1.0"?><ANNOTATION_DOCUMENT VERSION="3.0">',
    '{"file_metadata": {"duration": 1.0}, "annotations": ',
    '"annotation_id","annotator","audio","label","lead_time","updated_at"\n',
    "# YTID, start_seconds, end_seconds, positive_labels\n",
]


@with_examples(200)
@given(
    head=st.sampled_from(HEADS),
    body=st.text(max_size=60) | st.text('0123456789.\t,;\n"[]{}<>/ax-', max_size=60),
    suffix=st.sampled_from(sorted(LABEL_SUFFIXES)),
    binary=st.binary(max_size=20),
)
def test_no_content_of_a_label_file_is_a_crash(
    tmp_path_factory: pytest.TempPathFactory, head: str, body: str, suffix: str, binary: bytes
) -> None:
    folder = tmp_path_factory.mktemp("survey")
    (folder / "a.wav").touch()
    table = folder / f"a{suffix}"
    table.write_bytes(head.encode() + body.encode("utf-8", "surrogatepass") + binary)
    listed = list_sounds(Source(str(folder)))
    assert [item.fname for item in listed] == ["a.wav"]
    for record in listed[0].marks:
        for region in (region for group in record.regions.values() for region in group):
            assert 0 <= region.start <= region.end
    with contextlib.suppress(EarmarkError):
        list_sounds(Source(str(table)))


@pytest.mark.parametrize("column", ["AUTO ID", "AUTO ID*"])
def test_rows_of_kaleidoscope_without_a_manual_id_are_predictions_and_left_open(
    tmp_path: Path, column: str
) -> None:
    (tmp_path / "x.wav").touch()
    table = tmp_path / "id.csv"
    table.write_text(
        f"INDIR,FOLDER,IN FILE,OFFSET,DURATION,{column},Fmin,Fmin,MANUAL ID\n"
        "C:\\bats,,x.wav,0.5,1.0,EPTFUS,1,1,\nC:\\bats,,x.wav,2.0,1.0,NoID,1,1,NYCNOC\n"
    )
    for source in (tmp_path, table):
        sentences: list[str] = []
        (x,) = list_sounds(Source(str(source)), sentences.append)
        assert len(sentences) == 1
        assert "1 region " in sentences[0]
        annotation, prediction = x.marks
        assert (annotation.source, prediction.source) == ("annotation", "prediction")
        assert [(r.start, r.label) for r in annotation.regions[""]] == [(0.5, ""), (2.0, "NYCNOC")]
        assert [(r.start, r.label) for r in prediction.regions[""]] == [(0.5, "EPTFUS")]
    (x,) = list_sounds(Source(str(table), columns=Columns(labels="MANUAL ID")))
    assert [record.source for record in x.marks] == ["annotation"]
