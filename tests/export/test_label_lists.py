"""Label lists of DCASE and FSDKaggle: read back by this tool and by the formats' own readers."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.export.formats import FORMATS
from earmark.export.records import ClipRecord, RegionRecord
from tests.examples import with_examples
from tests.export.records import line_text, records, sounds, weak_labels
from tests.export.test_formats import MANY, flat, written

# dcase_util strips labels, makes numbers of those that look like some, and slashes of backslashes in names.
plain_labels = line_text.map(lambda text: f"{text.strip()}!")


@st.composite
def single_sounds(draw: st.DrawFn, labels: st.SearchStrategy[str]) -> list[list[ClipRecord]]:
    """Sounds of different names with one record each, and one control of either kind."""
    recordings: list[list[ClipRecord]] = []
    seen: set[str] = set()
    for sound in draw(sounds(records(labels))):
        name = sound[0].file_name.strip()
        if name and name not in seen:
            seen.add(name)
            recordings.append([replace(sound[0], file_name=name)])
    return recordings


def events(recordings: Sequence[Sequence[ClipRecord]]) -> list[tuple[str, float, float, str]]:
    return [
        (record.file_name, region.start, region.end, region.label)
        for record in flat(recordings)
        for regions in record.regions.values()
        for region in regions
    ]


@MANY
@given(single_sounds(line_text))
def test_dcase_lists_read_back(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = list(FORMATS["dcase"].load().read(written("dcase", drawn, folder)))
    assert [record.file_name for record in back] == [r.file_name for r in flat(drawn) if r.regions]
    assert events([back]) == events(drawn)


@MANY
@given(single_sounds(line_text))
def test_dcase_lists_are_what_pandas_reads(drawn: list[list[ClipRecord]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = pandas.read_csv(
            written("dcase", drawn, folder), sep="\t", dtype={"filename": str, "event_label": str},
            keep_default_na=False, na_values={"onset": [""], "offset": [""]},
        )  # fmt: skip
    rows = table[table["onset"].notna()]
    assert list(rows.itertuples(index=False, name=None)) == events(drawn)


@with_examples(25)
@given(single_sounds(plain_labels))
@pytest.mark.filterwarnings("ignore")
def test_dcase_lists_are_what_sed_eval_reads(sounds: list[list[ClipRecord]]) -> None:
    import sed_eval

    sounds = [
        [replace(record, file_name=f"{number} {re.sub(r'[^a-z0-9 ,]', 'ü', record.file_name)}.wav")]
        for number, (record,) in enumerate(sounds)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(written("dcase", sounds, folder), Path(folder) / "reference.csv")
        listed = sed_eval.io.load_event_list(str(path), csv_header=True, file_format="CSV", delimiter="\t")
    got = [
        (e.filename, float(e.onset), float(e.offset), e.event_label) for e in listed if e.onset is not None
    ]
    assert got == events(sounds)


def test_sed_eval_measures_our_export_as_perfect(tmp_path: Path) -> None:
    import sed_eval

    regions = (RegionRecord(0.5, 2.0, "Dog"), RegionRecord(1.0, 4.0, "Cat"))
    sounds = [[ClipRecord("a.wav", regions={"label": regions})], [ClipRecord("b.wav", regions={"label": ()})]]
    path = shutil.copy(written("dcase", sounds, tmp_path), tmp_path / "reference.csv")
    listed = sed_eval.io.load_event_list(str(path), csv_header=True, delimiter="\t")
    item = listed.filter(filename="a.wav")
    metrics = sed_eval.sound_event.SegmentBasedMetrics(event_label_list=["Cat", "Dog"], time_resolution=0.5)
    metrics.evaluate(item, item)
    overall = metrics.results_overall_metrics()
    assert overall["f_measure"]["f_measure"] == 1.0
    assert metrics.overall["Nref"] == 9, "3 half seconds of Dog and 6 of Cat"


@MANY
@given(single_sounds(weak_labels))
def test_weak_labels_read_back(drawn: list[list[ClipRecord]]) -> None:
    expected = []
    for record in flat(drawn):
        labels = [label for tags in record.tags.values() for label in tags]
        labels += [region.label for regions in record.regions.values() for region in regions]
        expected.append(ClipRecord(record.file_name, tags={"tags": tuple(dict.fromkeys(labels))}))
    with tempfile.TemporaryDirectory() as folder:
        assert list(FORMATS["fsdkaggle"].load().read(written("fsdkaggle", drawn, folder))) == expected


def test_weak_labels_look_like_fsdkaggle(tmp_path: Path) -> None:
    record = ClipRecord(
        "a,b.wav", tags={"tags": ("Bark", "Rain & wind")}, regions={"label": (RegionRecord(0, 1, "Bark"),)}
    )
    path = written("fsdkaggle", [[record]], tmp_path)
    assert path.read_text() == 'fname,labels\n"a,b.wav","Bark,Rain & wind"\n'
