"""Sample files of every tool and data set, made by the tools' own rules, from a folder to listed sounds."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import ConfigurationError, EarmarkError, FormatError
from earmark.export import datasets_folder
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.field.recognition import LABEL_SUFFIXES
from earmark.importing.models import Listed
from earmark.importing.sources import Source, list_sounds
from earmark.importing.table_columns import Columns

FIXTURES = Path(__file__).parents[2] / "fixtures" / "field"
BLACKBIRD, ROBIN = "Eurasian Blackbird", "European Robin"


class Case(NamedTuple):
    """``source``: a folder or file of the fixtures. ``sounds``: files that lie beside, all empty."""

    source: str
    sounds: tuple[str, ...]
    labels: dict[str, list[tuple[Any, ...]]]
    """By sound: ``(start, end, label[, score])`` of regions, ``(tag[, score])`` of tags."""
    kind: str = "annotation"
    fields: Mapping[str, dict[str, Any]] = MappingProxyType({})
    announced: str = ""


CASES = [
    Case(
        "raven",
        ("night.wav", "dawn.wav", "noon.wav"),
        {
            "night.wav": [(0.5, 1.25, "Owl"), (2.0, 2.75, "Wren")],
            "dawn.wav": [(0.1, 0.4, "Wren")],
            "noon.wav": [],
        },
        announced="2 Raven tables beside 3 recordings; 2 ",
    ),
    Case(
        "raven-many",
        ("site1/a.wav", "site1/b.wav", "site2/a.wav"),
        {
            "site1/a.wav": [(0.5, 1.0, "Owl")],
            "site1/b.wav": [(0.25, 0.75, "Wren")],
            "site2/a.wav": [(0.5, 1.5, "Owl")],
        },
        announced="1 Raven tables beside 3 recordings; 3 ",
    ),
    Case(
        "raven-many/all.Table.1.selections.txt",
        ("site1/a.wav", "site1/b.wav", "site2/a.wav"),
        {"site1/a.wav": [(0.5, 1.0, "Owl")], "site1/b.wav": [(0.25, 0.75, "Wren")],
         "site2/a.wav": [(0.5, 1.5, "Owl")]},
    ),
    Case("audacity", ("call.wav",), {"call.wav": [(0.5, 1.25, "Owl"), (2.0, 2.0, "Wren")]},
         announced="1 Audacity label tracks beside 1 "),
    Case(
        "birdnet",
        ("a.wav", "b.wav", "c.wav", "d.wav", "e.wav"),
        {
            "a.wav": [(0.0, 3.0, BLACKBIRD, 0.8123), (0.0, 3.0, ROBIN, 0.4411)],
            "b.wav": [(0.0, 3.0, BLACKBIRD, 0.8123), (0.0, 3.0, ROBIN, 0.4411)],
            "c.wav": [(0.0, 3.0, BLACKBIRD, 0.8123)],
            "d.wav": [(3.0, 6.0, BLACKBIRD, 0.8123)],
            "e.wav": [(1.5, 4.5, BLACKBIRD, 0.8123)],
        },
        "prediction",
    ),
    Case(
        "kaleidoscope",
        ("night1/S4A01_20240517_213000.wav", "night2/S4A01_20240517_213000.wav"),
        {
            "night1/S4A01_20240517_213000.wav": [(1.5, 3.5, "NYCNOC")],
            "night2/S4A01_20240517_213000.wav": [(0.25, 0.75, "PIPPIP")],
        },
        fields={"night1/S4A01_20240517_213000.wav": {"site": "night1", "recorded_at": "2024-05-17T21:30:00"}},
    ),
    Case("kaleidoscope-auto", ("x.wav",), {"x.wav": [(0.5, 1.5, "EPTFUS")]}, "prediction"),
    Case("rttm", ("talk.wav",), {"talk.wav": [(0.5, 1.25, "anna"), (1.0, 2.25, "ben", 0.85)]}),
    Case("textgrid", ("night.wav", "short.wav"), {
        "night.wav": [(0.5, 1.25, "Owl"), (2.0, 2.75, 'Wren "song"'), (3.0, 3.0, "click")],
        "short.wav": [(0.5, 1.25, "Owl")],
    }, announced="2 TextGrids beside 2 "),
    Case("elan", ("night.wav",), {"night.wav": [(0.5, 1.25, "Owl"), (2.0, 2.75, "Wren")]}),
    Case("jams", ("night.wav",), {"night.wav": [(0.5, 1.25, "Owl"), ("rain", 0.5)]}),
    Case("dcase-strong/events.tsv", ("Y1.wav", "Y2.wav"), {
        "Y1.wav": [(0.163, 0.369, "Dog"), (0.2, 1.5, "Speech")], "Y2.wav": [],
    }),
    Case("dcase-strong-commas", ("Y1.wav",), {"Y1.wav": [(0.163, 0.369, "Dog")]}),
    Case("dcase-strong-bare/events.txt", ("Y1.wav", "Y2.wav"), {
        "Y1.wav": [(0.163, 0.369, "Dog")], "Y2.wav": [(1.0, 2.0, "Speech")],
    }),
    Case("dcase-beside", ("Y1.wav",), {"Y1.wav": [(0.163, 0.369, "Dog")]}),
    Case("dcase-weak/weak.tsv", ("Y1.wav", "Y2.wav"), {
        "Y1.wav": [("Dog",), ("Speech",)], "Y2.wav": [("Dishes",)],
    }),
    Case("dcase-weak-bare/weak.csv", ("Y1.wav", "Y2.wav"), {
        "Y1.wav": [("Dog",), ("Speech",)], "Y2.wav": [("Dishes",)],
    }),
    Case(
        "fsd50k/FSD50K.ground_truth/dev.csv",
        ("FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/16399.wav"),
        {
            "FSD50K.dev_audio/64760.wav": [("Electric_guitar",), ("Guitar",)],
            "FSD50K.dev_audio/16399.wav": [("Bark",)],
        },
        fields={"FSD50K.dev_audio/16399.wav": {"split": "val"}},
    ),
    Case("fsdkaggle2018/train.csv", ("00044347.wav", "001ca53d.wav"), {
        "00044347.wav": [("Hi-hat",)], "001ca53d.wav": [("Saxophone",)],
    }),
    Case("fsdkaggle2019/train.csv", ("0006ae4e.wav", "0019ef41.wav"), {
        "0006ae4e.wav": [("Bark",)], "0019ef41.wav": [("Raindrop",), ("Drip",)],
    }),
    Case(
        "esc50/meta/esc50.csv",
        ("audio/1-100032-A-0.wav", "audio/2-100038-A-14.wav"),
        {"audio/1-100032-A-0.wav": [("dog",)], "audio/2-100038-A-14.wav": [("chirping_birds",)]},
        fields={"audio/1-100032-A-0.wav": {"fold": 1}, "audio/2-100038-A-14.wav": {"fold": 2, "take": "A"}},
    ),
    Case(
        "urbansound8k/metadata/UrbanSound8K.csv",
        ("audio/fold5/100032-3-0-0.wav", "audio/fold3/100263-2-0-117.wav"),
        {
            "audio/fold5/100032-3-0-0.wav": [("dog_bark",)],
            "audio/fold3/100263-2-0-117.wav": [("children_playing",)],
        },
        fields={"audio/fold5/100032-3-0-0.wav": {"fold": 5, "start": 0.0, "end": 0.317551}},
    ),
    Case("audioset/balanced.csv", ("--4gqARaEJE.wav", "Y--BfvyPmVMo_20000.wav"), {
        "--4gqARaEJE.wav": [("/m/068hy",), ("/m/07q6cd_",)], "Y--BfvyPmVMo_20000.wav": [("/m/03l9g",)],
    }),
    Case("audioset-strong/events.tsv", ("b0RFKhbpFJA_30000.wav",), {
        "b0RFKhbpFJA_30000.wav": [(0.0, 1.5, "Speech")],
    }),
    Case(
        "xeno-canto/query.csv",
        ("XC694038-wren.mp3", "XC123456 - Tawny Owl - Strix aluco.mp3"),
        {
            "XC694038-wren.mp3": [("Eurasian Wren",)],
            "XC123456 - Tawny Owl - Strix aluco.mp3": [("Tawny Owl",)],
        },
        fields={"XC694038-wren.mp3": {"lat": 51.5, "alt": 160, "q": "A"}},
    ),
    Case(
        "esc50",
        ("audio/1-100032-A-0.wav", "audio/2-100038-A-14.wav"),
        {"audio/1-100032-A-0.wav": [("dog",)], "audio/2-100038-A-14.wav": [("chirping_birds",)]},
        fields={"audio/2-100038-A-14.wav": {"fold": 2}},
    ),
    Case(
        "urbansound8k",
        ("audio/fold5/100032-3-0-0.wav", "audio/fold3/100263-2-0-117.wav"),
        {
            "audio/fold5/100032-3-0-0.wav": [("dog_bark",)],
            "audio/fold3/100263-2-0-117.wav": [("children_playing",)],
        },
        fields={"audio/fold3/100263-2-0-117.wav": {"fold": 3}},
    ),
    Case(
        "fsd50k",
        ("FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/16399.wav"),
        {
            "FSD50K.dev_audio/64760.wav": [("Electric_guitar",), ("Guitar",)],
            "FSD50K.dev_audio/16399.wav": [("Bark",)],
        },
    ),
    Case(
        "plain/calls.csv",
        ("a.wav",),
        {"a.wav": [(0.5, 1.25, "Owl"), (2.0, 2.75, "Wren")]},
        fields={"a.wav": {"depth": 3}},
    ),
    Case("separators/tags.csv", ("a.wav", "b.wav"), {
        "a.wav": [("wren",), ("robin",)], "b.wav": [("owl",)],
    }),
    *(
        Case(
            f"label-studio-{kind}/project.{kind}",
            ("night.wav",),
            {"night.wav": [(0.5, 1.25, "Owl"), ("rain",), ("wind",)]},
            fields={"night.wav": {"depth": 3}},
        )
        for kind in ("csv", "tsv")
    ),
]  # fmt: skip


def prepared(folder: Path, case: Case) -> Path:
    top = case.source.split("/")[0]
    shutil.copytree(FIXTURES / top, folder / top)
    for name in case.sounds:
        (folder / top / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / top / name).touch()
    return folder / case.source


def labels_of(item: Listed) -> list[tuple[Any, ...]]:
    labels: list[tuple[Any, ...]] = []
    for record in item.marks:
        for group in record.regions.values():
            for r in group:
                labels.append((r.start, r.end, r.label) + (() if r.score is None else (r.score,)))
        for name, tags in record.tags.items():
            score = record.tag_scores.get(name)
            labels += [(tag,) + (() if score is None else (score,)) for tag in tags]
    return labels


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)
def test_files_of_the_field_are_read_as_they_lie_on_disk(tmp_path: Path, case: Case) -> None:
    said: list[str] = []
    announced: list[str] = []
    source = Source(str(prepared(tmp_path, case)))
    listed = {item.fname: item for item in list_sounds(source, said.append, announced.append)}
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
    from earmark.importing.field.table_presets import _audioset_label

    return {
        name: [
            tuple(_audioset_label(part) if isinstance(part, str) else part for part in label)
            for label in found
        ]
        for name, found in case.labels.items()
    }


def test_what_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    source = prepared(tmp_path, Case("raven", ("night.wav",), {}))
    (source / "notes.txt").write_text("weather was fine\nand then it rained\n")
    (source / "broken.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\tx\t2\tOwl\n")
    said: list[str] = []
    list_sounds(Source(str(source)), said.append)
    text = "\n".join(said)
    assert "dawn.tsv" in text
    assert "no recording" in text
    assert "notes.txt" in text
    assert "not recognised" in text
    assert "broken.txt" in text
    assert "no number" in text


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


def test_columns_of_events_are_no_fields_of_the_sound(tmp_path: Path) -> None:
    said: list[str] = []
    calls = prepared(tmp_path, Case("plain/calls.csv", ("a.wav",), {}))
    (a,) = list_sounds(Source(str(calls)), said.append)
    assert a.fields == {"depth": 3}
    assert any("SNR" in sentence for sentence in said)
    with calls.open("a") as file:
        file.write("b.wav,0.5,1.0,Owl,20,7\n")
    _, b = list_sounds(Source(str(calls)))
    assert b.fields == {"depth": 7}, "also of a sound with one event"


def test_scores_and_separators_are_what_options_say(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("fname,label,p,fold_id\na.wav,owl;at night,0.5,3\n")
    (tmp_path / "a.wav").touch()
    (a,) = list_sounds(Source(str(table), columns=Columns(score="p", fold="fold_id", separator="|")))
    assert labels_of(a) == [("owl;at night", 0.5)]
    assert a.fields == {"fold": 3}
    table.write_text("fname,label,score\na.wav,owl,85\n")
    said: list[str] = []
    (a,) = list_sounds(Source(str(table)), said.append)
    assert labels_of(a) == [("owl",)]
    assert any("score" in sentence for sentence in said)


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


def test_a_header_without_rows_means_that_nothing_was_found(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n")
    (a,) = list_sounds(Source(str(tmp_path)))
    assert [dict(record.regions) for record in a.marks] == [{"": ()}]


def test_regions_without_a_name_do_not_mean_that_nothing_sounds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t0\t1\t\n")
    said: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path)), said.append)
    assert a.marks == ()
    assert "1 regions in a.txt have no label" in said[0]


def test_a_name_that_fits_several_recordings_is_not_guessed(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    (tmp_path / "t.csv").write_text("fname,label\na,owl\n")
    said: list[str] = []
    (a,) = list_sounds(Source(str(tmp_path / "t.csv")), said.append)
    assert a.path is None or not a.path.is_file()
    assert any("fit several" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("plot7/20240517_043000.WAV", {"site": "plot7", "recorded_at": "2024-05-17T04:30:00"}),
        ("SMM01234_20240517_043000.wav", {"site": "SMM01234", "recorded_at": "2024-05-17T04:30:00"}),
        ("5E90A4D4.WAV", {"site": "pond", "recorded_at": "2020-04-10T16:54:44+00:00"}),
        ("20241799_043000.WAV", {}),
        ("take5.wav", {}),
    ],
)
def test_recorders_write_the_time_into_the_name(tmp_path: Path, name: str, fields: dict[str, str]) -> None:
    folder = tmp_path / "pond"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).touch()
    (item,) = list_sounds(Source(str(folder)))
    assert item.fields == fields


def test_a_format_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_text("0.5\t1.0\t2 owls\n")
    (item,) = list_sounds(Source(str(tmp_path), format="audacity"))
    assert labels_of(item) == [(0.5, 1.0, "2 owls")]
    (tmp_path / "b.rttm").write_text("no segments\n")
    with pytest.raises(ConfigurationError, match="--format"):
        list_sounds(Source(str(tmp_path / "b.rttm")))


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


@settings(max_examples=200)
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


def test_a_folder_for_datasets_comes_back(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    sound.touch()
    regions = {"label": (RegionRecord(0.5, 1.0, "Owl, far", 0.5), RegionRecord(1.0, 2.0, "Wren"))}
    data = {"audio": "/data/a.wav", "depth": 7, "note": "x"}
    owl = ClipRecord("a.wav", "/data/a.wav", 1, data, 4.0, {"tags": ("rain",)}, {}, regions)
    quiet = ClipRecord("b.wav", "/data/b.wav", 2, {"depth": 13.5}, regions={"label": ()})
    with datasets_folder.writing(tmp_path / "out", lambda address: sound) as add:
        add([owl])
        add([quiet])
    for source in (tmp_path / "out", tmp_path / "out" / "metadata.csv"):
        a, b = list_sounds(Source(str(source)))
        assert labels_of(a) == [(0.5, 1.0, "Owl, far", 0.5), (1.0, 2.0, "Wren"), ("rain",)]
        assert (a.fields, b.fields) == ({"depth": 7.0, "note": "x"}, {"depth": 13.5})
        assert [dict(record.regions) for record in b.marks] == [{"": ()}]
        assert all(item.path and item.path.is_file() for item in (a, b))
