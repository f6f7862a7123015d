"""Round trips of each format, and reading of its files by the format's own library."""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import jams
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import FormatError
from earmark.export.annotated import path_beside
from earmark.export.formats import FORMATS
from earmark.export.records import AnnotatedSpan, ClipRecord, RegionRecord
from tests.examples import with_examples
from tests.export.records import any_text, records, sounds

MANY = with_examples(25)


def written(name: str, recordings: Sequence[Sequence[ClipRecord]], folder: str | Path) -> Path:
    path = Path(folder) / f"out.{name}"
    with FORMATS[name].load().writing(path) as add:
        for sound in recordings:
            add(sound)
    beside = {path_beside(path, is_folder=False).name}
    assert {entry.name for entry in path.parent.iterdir()} - beside == {path.name}, "nothing else is left"
    return path


def flat(recordings: Sequence[Sequence[ClipRecord]]) -> list[ClipRecord]:
    return [record for sound in recordings for record in sound]


@MANY
@given(sounds(records(st.text(min_size=1), st.text())))
def test_json_lines_lose_nothing(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["jsonl"].load().read(written("jsonl", drawn, folder))) == flat(drawn)


def test_json_lines_keep_what_data_holds(tmp_path: Path) -> None:
    data = {"year": 2019, "where": {"lat": 48.1, "tags": ["a", None, True]}, "text": "5"}
    record = ClipRecord("a.wav", data=data)
    assert list(FORMATS["jsonl"].load().read(written("jsonl", [[record]], tmp_path))) == [record]


@MANY
@given(sounds(records(any_text, any_text)))
def test_csv_holds_everything(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["csv"].load().read(written("csv", drawn, folder))) == flat(drawn)


@MANY
@given(sounds(records()))
def test_csv_is_what_pandas_reads(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = pandas.read_csv(written("csv", drawn, folder), dtype=str, keep_default_na=False)
    expected = [
        (str(record.task_id), record.file_name, control, region.label, region.start, region.end)
        for record in flat(drawn)
        for control, regions in record.regions.items()
        for region in regions
    ]
    rows = table[(table["kind"] == "region") & (table["label"] != "")]
    columns = ["task_id", "file_name", "control", "label", "start", "end"]
    got = [(*row[:4], float(row[4]), float(row[5])) for row in rows[columns].itertuples(index=False)]
    assert got == expected


@MANY
@given(sounds(records()))
def test_jams_files_read_back(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["jams"].load().read(written("jams", drawn, folder))) == [
            replace(record, regions={name: by_start(of) for name, of in record.regions.items()})
            for record in flat(drawn)
        ]


def by_start(regions: Sequence[RegionRecord]) -> tuple[RegionRecord, ...]:
    return tuple(sorted(regions, key=lambda region: region.start))


def test_jams_keep_ends_that_their_lengths_cannot(tmp_path: Path) -> None:
    assert 6.44 + (15.15 - 6.44) != 15.15
    record = ClipRecord("a.wav", regions={"label": (RegionRecord(6.44, 15.15, "Dog"),)})
    assert list(FORMATS["jams"].load().read(written("jams", [[record]], tmp_path))) == [record]


def test_the_library_reads_our_jams(tmp_path: Path) -> None:
    regions = (RegionRecord(0.5, 2.0, "Dog, bark", 0.25), RegionRecord(1.0, 1.0, "ü"))
    record = ClipRecord(
        "sub/a b.wav", duration=10.0, annotator="anna@example.com", regions={"label": regions},
        tags={"tags": ("rain", "wind")}, tag_scores={"tags": 0.5},
    )  # fmt: skip
    folder = written("jams", [[record]], tmp_path)
    content = jams.load(str(folder / "sub" / "a b.jams"))
    assert (content.file_metadata.title, content.file_metadata.duration) == ("sub/a b.wav", 10.0)
    (annotation,) = content.search(namespace="segment_open")
    assert [tuple(o) for o in annotation.data] == [(0.5, 1.5, "Dog, bark", 0.25), (1.0, 0.0, "ü", None)]
    assert annotation.annotation_metadata.annotator.name == "anna@example.com"
    (tags,) = content.search(namespace="tag_open")
    assert [tuple(o) for o in tags.data] == [(0.0, 10.0, "rain", 0.5), (0.0, 10.0, "wind", 0.5)]


def test_jams_of_others_are_read(tmp_path: Path) -> None:
    content = jams.JAMS()
    content.file_metadata.duration, content.file_metadata.title = 4.0, "x.wav"
    annotation = jams.Annotation("segment_open", annotation_metadata={"annotator": {"name": "bo"}})
    annotation.append(time=1.0, duration=0.5, value="Cat", confidence=None)
    content.annotations.append(annotation)
    content.save(str(tmp_path / "x.jams"))
    from earmark.export.jams_files import read_file

    (record,) = read_file(tmp_path / "x.jams")
    assert record.file_name == "x.wav"
    assert record.regions == {"segment_open": (RegionRecord(1.0, 1.5, "Cat", annotator="bo"),)}


def bare(record: ClipRecord, **changes: Any) -> ClipRecord:
    """The record without the fields that a table of regions and its index cannot hold."""
    return replace(record, data={}, tags={}, tag_scores={}, **changes)


@MANY
@given(sounds(records()))
def test_raven_tables_read_back(drawn: list[list[ClipRecord]]) -> None:
    expected = [bare(record) for record in flat(drawn) if record.regions]
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["raven"].load().read(written("raven", drawn, folder))) == expected


@MANY
@given(sounds(records()))
def test_audacity_labels_read_back(drawn: list[list[ClipRecord]]) -> None:
    expected = [
        bare(
            record,
            regions={
                name: tuple(replace(region, score=None, id=None) for region in regions)
                for name, regions in record.regions.items()
            },
        )
        for record in flat(drawn)
        if record.regions
    ]
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["audacity"].load().read(written("audacity", drawn, folder))) == expected


def test_a_raven_table_is_as_raven_writes_it(tmp_path: Path) -> None:
    record = ClipRecord(
        "sub/a b.wav", regions={"label": (RegionRecord(1e-7, 2.5, 'Dog "x"', 0.5, None, "r1"),)}
    )
    folder = written("raven", [[record]], tmp_path)
    lines = (folder / "sub" / "a b.selections.txt").read_text().splitlines()
    assert lines[0].split("\t")[:7] == [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    ]  # fmt: skip
    assert lines[1].split("\t")[:9] == [
        "1", "Spectrogram 1", "1", "0.0000001", "2.5", "0.0", "24000.0", "a b.wav", 'Dog "x"',
    ]  # fmt: skip


def test_raven_tables_of_others_are_read(tmp_path: Path) -> None:
    from earmark.export.raven import read_table

    table = tmp_path / "x.txt"
    table.write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\r\n"
        "1\tWaveform 1\t1\t0.5\t1.5\t0\t8000\tTurdus merula\r\n"
        "1\tSpectrogram 1\t1\t0.5\t1.5\t0\t8000\tTurdus merula\r\n"
        "2\tSpectrogram 1\t1\t3\t4\t0\t8000\tSitta\r\n"
    )
    assert [row.region for row in read_table(table)] == [
        RegionRecord(0.5, 1.5, "Turdus merula"), RegionRecord(3, 4, "Sitta"),
    ]  # fmt: skip


def test_audacity_tracks_of_others_are_read(tmp_path: Path) -> None:
    from earmark.export.audacity import read_track

    track = tmp_path / "x.txt"
    track.write_text("1.000000\t1.000000\tpoint\n\\\t6928.456055\t6928.456055\n2.0\t3.0\r\n")
    assert [row.region for row in read_track(track)] == [RegionRecord(1, 1, "point"), RegionRecord(2, 3, "")]


@pytest.mark.parametrize(
    ("name", "label"),
    [("raven", "a\tb"), ("audacity", "a\nb"), ("dcase", "a\rb"), ("fsdkaggle", "a,b"), ("fsdkaggle", " a"),
     ("csv", "half \ud800"), ("raven", "half \ud800"), ("audacity", "nul \x00")],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused_and_the_rest_written(
    tmp_path: Path, name: str, label: str
) -> None:
    def sound(file_name: str, text: str) -> list[ClipRecord]:
        regions = {"label": (RegionRecord(0, 1, "fine"), RegionRecord(1, 2, text))}
        return [ClipRecord(file_name, regions=regions)]

    module = FORMATS[name].load()
    with module.writing(tmp_path / "out") as add:
        with pytest.raises(FormatError, match="use"):
            add(sound("bad.wav", label))
        add(sound("good.wav", "fine, too" if name != "fsdkaggle" else "fine"))
    assert [record.file_name for record in module.read(tmp_path / "out")] == ["good.wav"]


@pytest.mark.parametrize("name", ["dcase", "fsdkaggle"])
def test_two_sounds_of_one_name_are_not_mixed(tmp_path: Path, name: str) -> None:
    record = ClipRecord("a.wav", task_id=1, regions={"label": (RegionRecord(0, 1, "Dog"),)})
    with FORMATS[name].load().writing(tmp_path / "out") as add:
        add([record])
        with pytest.raises(FormatError, match="Another sound"):
            add([replace(record, task_id=2)])


@pytest.mark.parametrize("name", ["raven", "audacity", "jams"])
def test_names_that_collide_get_files_of_their_own(tmp_path: Path, name: str) -> None:
    names = ["A (2).wav", "a.wav", "A.flac", "a.wav", "../../a.wav", "a.txt/b.wav", "a.jams/b.wav", "a:b?",
             "x/..", "", "x" * 300 + ".wav", "sounds.csv", "ä.wav", "a\u0308.wav"]  # fmt: skip
    colliding = [
        [ClipRecord(file_name, task_id=number, regions={"label": (RegionRecord(0, number, "Dog"),)})]
        for number, file_name in enumerate(names, 1)
    ]
    path = written(name, colliding, tmp_path)
    back = list(FORMATS[name].load().read(path))
    assert [(record.file_name, record.regions["label"][0].end) for record in back] == [
        (file_name, number) for number, file_name in enumerate(names, 1)
    ]
    with (path / "sounds.csv").open(newline="") as file:
        files = [row["label_file"] for row in csv.DictReader(file)]
    assert len({file.casefold() for file in files}) == len(names)


@pytest.mark.parametrize("name", sorted(FORMATS))
@given(content=st.binary(max_size=200))
@with_examples(30)
def test_anything_else_is_refused_in_one_sentence(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        if FORMATS[name].is_folder:
            path.mkdir()
            (path / "sounds.csv").write_bytes(content)
        else:
            path.write_bytes(content)
        try:
            read_back = list(FORMATS[name].load().read(path))
        except FormatError:
            return
    assert read_back == []


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_is_stopped_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out"
    with suppress(KeyboardInterrupt), FORMATS[name].load().writing(path) as add:
        add([ClipRecord("a.wav", regions={"label": (RegionRecord(0, 1, "Dog"),)})])
        assert list(tmp_path.iterdir()) != []
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].holds_open])
def test_formats_that_hold_regions_without_a_label_read_them_back(tmp_path: Path, name: str) -> None:
    regions = {"label": (RegionRecord(0.5, 1.0, ""), RegionRecord(2.0, 2.0, "Dog")), "other": ()}
    spans = (AnnotatedSpan(0.0, 0.5), AnnotatedSpan(1.0, math.inf))
    record = ClipRecord("a.wav", regions=regions, annotated=() if name == "csv" else spans)
    assert list(FORMATS[name].load().read(written(name, [[record]], tmp_path))) == [record]
