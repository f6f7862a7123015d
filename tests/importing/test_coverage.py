"""Annotated parts of a recording: which stay annotated after an export and another split."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from earmark.errors import FormatError
from earmark.export import annotated
from earmark.export.formats import FORMATS, FormatName
from earmark.export.records import NOTHING, AnnotatedSpan, ClipRecord, RegionRecord
from earmark.export.rejoin_splits import join
from earmark.importing.audio_checks import Checked
from earmark.importing.labels import Marking, find_controls, groups_of
from earmark.importing.models import Facts, Listed, Sound
from earmark.importing.quality_rules import Rules, apply_rules, sounds_of
from earmark.importing.sources import Source, list_sounds

SPLIT = 30.0
ANNOTATED = {0: "anna@example.com", 1: "ben@example.com", 4: "anna@example.com"}
"""Annotated stretches of 30 s, of 240, and by whom."""
CONFIG = """<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio"><Label value="Owl"/>
</Labels><Choices name="tags" toName="audio" choice="multiple"><Choice value="Rain"/></Choices></View>"""


def night() -> list[ClipRecord]:
    """A recording of two hours, joined from the stretches that were annotated."""
    records = []
    for number, who in ANNOTATED.items():
        start = SPLIT * number
        data = {"source": "night.wav", "source_start": start, "source_end": start + SPLIT}
        regions = (RegionRecord(5.0, 8.0, "Owl", annotator=who),) if number else ()
        tags = {"tags": ("Rain",) if number == 4 else ()}
        name = f"night.wav#{number}"
        records.append(
            ClipRecord(name, "", number + 1, data, SPLIT, tags, regions={"label": regions}, annotator=who)
        )
    return join(records)


def sounds_again(export: Path, split: float | None, format_name: FormatName) -> list[Sound]:
    """The sounds that importing an export yields, for a recording of two hours."""
    (export.parent / "night.wav").touch()
    source = Source(str(export), audio_dir=export.parent, format=format_name)
    facts = Facts("d" * 64, 9, 7200.0, 8000, 1)
    checked = [Checked(item, facts, item.path) for item in list_sounds(source)]
    return sounds_of(apply_rules(checked, Rules()), Rules(), split)


def written(folder: Path, name: str, records: list[ClipRecord]) -> Path:
    path = folder / ("out" if FORMATS[name].is_folder else f"out.{'tsv' if name == 'dcase' else name}")
    with FORMATS[name].load().writing(path) as add:
        add(records)
    return path


@pytest.mark.parametrize(
    "name", ["jsonl", "jams", "csv", "raven", "audacity", "textgrid", "elan", "dcase", "rttm"]
)
@pytest.mark.parametrize(
    ("split", "annotated_starts"),
    [(30.0, [0, 30, 120]), (20.0, [0, 20, 40, 120]), (60.0, [0]), (7.5, [*range(0, 8), *range(16, 20)])],
)
def test_only_annotated_stretches_come_back_as_annotated(
    tmp_path: Path, name: FormatName, split: float, annotated_starts: list[float]
) -> None:
    if split == 7.5:
        annotated_starts = [7.5 * number for number in annotated_starts]
    sounds = sounds_again(written(tmp_path, name, night()), split, name)
    assert len(sounds) == round(7200 / split)
    starts = [sound.stretch.start for sound in sounds if sound.stretch and sound.marks]
    assert starts == annotated_starts
    lost = sum(sound.lost for sound in sounds)
    # At 60 s the owl of the stretch from 120 to 150 s has no place, and its tag only at 30 s.
    assert (lost > 0) == (split == 60 or (FORMATS[name].holds_tags and (split != SPLIT or name == "csv")))


@pytest.mark.parametrize(
    "name", ["jsonl", "jams", "csv", "raven", "audacity", "textgrid", "elan", "dcase", "rttm"]
)
def test_a_recording_annotated_in_part_comes_back_whole_without_an_annotation(
    tmp_path: Path, name: FormatName
) -> None:
    (sound,) = sounds_again(written(tmp_path, name, night()), None, name)
    assert (sound.marks, sound.partly, sound.lost > 0) == ((), True, True)


@pytest.mark.parametrize("name", ["jsonl", "jams"])
def test_tags_and_annotators_go_back_to_their_own_stretches(tmp_path: Path, name: FormatName) -> None:
    sounds = sounds_again(written(tmp_path, name, night()), SPLIT, name)
    marks_at = {sound.stretch.start: sound.marks[0] for sound in sounds if sound.stretch and sound.marks}
    assert {start: record.tags for start, record in marks_at.items()} == {
        0: {"tags": ()}, 30: {"tags": ()}, 120: {"tags": ("Rain",)},
    }  # fmt: skip
    assert [record.annotator for record in marks_at.values()] == list(ANNOTATED.values())


def test_a_tag_of_a_longer_stretch_is_no_tag_of_its_pieces(tmp_path: Path) -> None:
    sounds = sounds_again(written(tmp_path, "jsonl", night()), 10.0, "jsonl")
    marks_at = {sound.stretch.start: sound.marks[0].tags for sound in sounds if sound.stretch and sound.marks}
    assert marks_at[0] == {"tags": ()}
    assert marks_at[120] == marks_at[130] == {}


def test_the_table_beside_an_export_names_parts_and_annotators(tmp_path: Path) -> None:
    path = written(tmp_path, "dcase", [*night(), ClipRecord("other.wav", regions={"label": ()})])
    table = annotated.path_beside(path, is_folder=False)
    with table.open(newline="") as file:
        rows = [
            (row["sound"], float(row["start"]), row["end"], row["annotator"]) for row in csv.DictReader(file)
        ]
    assert rows[:3] == [
        ("night.wav", SPLIT * number, f"{SPLIT * (number + 1)}", who) for number, who in ANNOTATED.items()
    ]
    assert rows[3] == ("other.wav", 0.0, "", "")
    table.write_text("sound,start,end,annotator\nnight.wav,3,2,\n")
    with pytest.raises(FormatError, match="line 2"):
        annotated.read(table)


def test_an_older_export_of_stretches_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "jsonl", [replace(record, annotated=()) for record in night()])
    starts = [
        sound.stretch.start for sound in sounds_again(path, SPLIT, "jsonl") if sound.stretch and sound.marks
    ]
    assert starts == [0, 30, 120]


def test_a_sound_annotated_as_a_whole_stays_annotated(tmp_path: Path) -> None:
    record = ClipRecord("night.wav", duration=7199.98, tags={"tags": ("Rain",)}, regions={"label": ()})
    path = written(tmp_path, "csv", [record])
    (sound,) = sounds_again(path, None, "csv")
    assert sound.marks[0].tags == {"tags": ("Rain",)}
    assert all(sound.marks for sound in sounds_again(path, 60.0, "csv"))


@pytest.mark.parametrize("overlapping", [False, True])
def test_regions_beyond_the_end_make_no_empty_annotation(
    write_sound: Callable[..., Path], tmp_path: Path, overlapping: bool
) -> None:
    rows = [(10.2, 14.2), (0.1, 0.2)] if overlapping else [(10.2, 14.2)]
    record = ClipRecord("a.wav", regions={"label": tuple(RegionRecord(a, b, "Owl") for a, b in rows)})
    path = written(tmp_path, "jsonl", [record])
    (item,) = list_sounds(Source(str(path), audio_dir=write_sound(tmp_path / "a.wav").parent))
    facts = Facts("d" * 64, 9, 0.25, 8000, 1)
    (verdict,) = apply_rules([Checked(item, facts, item.path)], Rules())
    assert (verdict.accepted, verdict.lost) == (True, 1)
    (sound,) = sounds_of([verdict], Rules())
    made = Marking(find_controls(CONFIG, groups_of([sound])), "as-given").part(sound)
    assert len(made.get("annotations", [])) == overlapping
    assert ("without" in verdict.why) != overlapping


def test_a_control_whose_regions_are_all_lost_says_nothing_beside_tags() -> None:
    record = ClipRecord("a.wav", tags={"tags": ("Rain",)}, regions={"label": (RegionRecord(9, 10, "Owl"),)})
    item = Checked(
        # What was said of it, without a source
        item=Listed(Path("a"), "a.wav", (record,)),
        facts=Facts("d", 9, 1.0, 8000, 1),
    )
    (verdict,) = apply_rules([item], Rules())
    assert [dict(record.regions) for record in verdict.marks] == [{}]


def test_spans_survive_json_lines() -> None:
    from earmark.export.jsonl import line_of, record_of_line

    spans = (AnnotatedSpan(0.0, 30.0, "anna@example.com", {"tags": ("Rain",)}), AnnotatedSpan(60.0, 90.5))
    record = ClipRecord("night.wav", annotated=spans)
    assert record_of_line(line_of(record)) == record


@pytest.mark.parametrize(
    "name", ["jsonl", "jams", "csv", "raven", "audacity", "textgrid", "elan", "dcase", "rttm"]
)
def test_a_sound_in_which_nothing_was_found_comes_back_as_annotated(tmp_path: Path, name: FormatName) -> None:
    quiet = ClipRecord("quiet night.wav", duration=4.0, regions={"label": ()})
    owl = ClipRecord("owl.wav", duration=4.0, regions={"label": (RegionRecord(1.0, 2.0, "Owl"),)})
    path = tmp_path / ("out" if FORMATS[name].is_folder else f"out.{'tsv' if name == 'dcase' else name}")
    with FORMATS[name].load().writing(path) as add:
        add([quiet])
        add([owl])
    for record in (quiet, owl):
        (tmp_path / record.file_name).touch()
    listed = list_sounds(Source(str(path), audio_dir=tmp_path, format=name))
    empty = {item.fname: [list(r.regions.values()) for r in item.marks] for item in listed}
    assert empty["quiet night.wav"] == [[()]]
    assert len(empty) == 2


def test_of_joined_stretches_only_annotated_parts_are(tmp_path: Path) -> None:
    data = {"source": "night.wav", "source_start": 0.0, "source_end": 30.0}
    later = {**data, "source_start": 30.0, "source_end": 60.0}
    first = ClipRecord("1", data=data, tags={"tags": ("Rain",)}, annotated=(AnnotatedSpan(0.0, 20.0),))
    (joined,) = join([first, ClipRecord("2", data=later, annotated=(NOTHING,))])
    assert joined.annotated == (AnnotatedSpan(0.0, 20.0, None, {}),)
    (joined,) = join([ClipRecord("2", data=later, annotated=(NOTHING,))])
    assert joined.is_open


@pytest.mark.parametrize("name", ["raven", "audacity", "textgrid", "elan"])
def test_a_single_file_of_an_export_has_the_parts_of_its_folder(tmp_path: Path, name: FormatName) -> None:
    (record,) = night()
    (tmp_path / "night.wav").touch()
    folder = written(tmp_path, name, [replace(record, file_name="pond/night.wav")])
    (path,) = (path for path in (folder / "pond").iterdir())
    (item,) = list_sounds(Source(str(path), audio_dir=tmp_path))
    assert {span.start for each in item.marks for span in each.annotated} == {0.0, 30.0, 120.0}
