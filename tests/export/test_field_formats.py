"""Formats for the field's tools: round trips, and reading by the libraries that their users have."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import textgrid
from hypothesis import given
from hypothesis import strategies as st
from pympi.Elan import Eaf

from earmark.errors import FormatError
from earmark.export import annotated
from earmark.export.export_run import RecordFilter, run
from earmark.export.formats import FORMATS
from earmark.export.label_studio import TaskReader
from earmark.export.records import ClipRecord, RegionRecord
from earmark.export.tiers import tiers_of
from earmark.importing.sources import Source, list_sounds
from earmark.labels.label_config import parse_label_config
from tests.examples import with_examples
from tests.export.records import line_text, records, sounds
from tests.lazily import Lazy

crowsetta, sed_eval = Lazy("crowsetta"), Lazy("sed_eval")

CONFIG = """<View><Audio name="audio" value="$audio"/><Labels name="label" toName="audio"><Label value="Owl"/>
</Labels></View>"""
OWL = RegionRecord(0.5, 1.25, "Owl")
WREN = RegionRecord(1.0, 2.75, "Wren, far")
stripped = line_text.map(str.strip).filter(bool)


def rounded(record: ClipRecord, digits: int, least: float = 0.0) -> ClipRecord:
    """The record as a format with so many decimals holds it, without scores and ids."""

    def times(region: RegionRecord) -> RegionRecord:
        start = round(region.start, digits)
        end = max(round(region.end, digits), round(start + least, digits))
        return replace(region, start=start, end=end, score=None, id=None)

    regions = {
        name: tuple(sorted(map(times, group), key=lambda r: (r.start, r.end, r.label)))
        for name, group in record.regions.items()
    }
    return replace(record, regions=regions, data={}, tags={}, tag_scores={})


@pytest.mark.parametrize(("name", "digits", "least"), [("textgrid", 6, 0.0), ("elan", 3, 0.001)])
@with_examples(20)
@given(drawn=sounds(records(stripped)))
def test_tiers_read_back(name: str, digits: int, least: float, drawn: list[list[ClipRecord]]) -> None:
    expected = [[rounded(record, digits, least) for record in sound] for sound in drawn]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        with FORMATS[name].load().writing(path) as add:
            for sound in expected:
                add(sound)
        back = list(FORMATS[name].load().read(path))
    assert back == [record for sound in expected for record in sound if record.regions]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=12))
def test_no_tier_holds_regions_that_overlap(spans: list[tuple[int, int]]) -> None:
    regions = [RegionRecord(start, start + length, "x") for start, length in spans]
    tiers = tiers_of({"label": regions})
    assert sorted(r.start for tier in tiers.values() for r in tier) == sorted(r.start for r in regions)
    for tier in tiers.values():
        assert all(a.end <= b.start and a.start < b.start for a, b in pairwise(tier))


def written(folder: Path, name: str, *clip_records: ClipRecord) -> Path:
    path = folder / ("out" if FORMATS[name].is_folder else f"out.{name}")
    with FORMATS[name].load().writing(path) as add:
        for record in clip_records:
            add([record])
    return path


def record_of(*regions: RegionRecord, **changes: Any) -> ClipRecord:
    return ClipRecord("night/a b.wav", duration=4.0, regions={"label": regions}, **changes)


def test_crowsetta_reads_our_raven_tables(tmp_path: Path) -> None:
    record = record_of(OWL, WREN, data={"sample_rate": 384_000})
    path = written(tmp_path, "raven", record) / "night" / "a b.selections.txt"
    boxes = crowsetta.formats.bbox.Raven.from_file(path, annot_col="Annotation").to_bbox()
    assert [(box.onset, box.offset, box.label) for box in boxes] == [
        (0.5, 1.25, "Owl"),
        (1.0, 2.75, "Wren, far"),
    ]
    assert {(box.low_freq, box.high_freq) for box in boxes} == {(0.0, 192_000.0)}
    path = written(tmp_path / "other", "raven", record_of(OWL)) / "night" / "a b.selections.txt"
    (box,) = crowsetta.formats.bbox.Raven.from_file(path, annot_col="Annotation").to_bbox()
    assert box.high_freq == 24_000.0


@pytest.mark.skipif(
    find_spec("opensoundscape") is None, reason="OpenSoundscape brings PyTorch Lightning and CUDA's libraries"
)
def test_opensoundscape_reads_our_raven_tables_and_we_read_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package imports Lightning and more; its annotations need none of it (pip install --no-deps)
    spec = find_spec("opensoundscape")
    package = ModuleType("opensoundscape")
    package.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    monkeypatch.setitem(sys.modules, "opensoundscape", package)
    boxed = import_module("opensoundscape.annotations").BoxedAnnotations

    path = tmp_path / "out"
    with FORMATS["raven"].load().writing(path) as add:
        add([record_of(OWL, WREN)])
        add([replace(record_of(), file_name="quiet.wav", regions={"label": ()})])
    tables = [path / "night" / "a b.selections.txt", path / "quiet.selections.txt"]
    names = ["night/a b.wav", "quiet.wav"]
    boxes = boxed.from_raven_files(tables, audio_files=names, annotation_column="Annotation")
    assert list(boxes.df["annotation"]) == ["Owl", "Wren, far"]
    assert boxes.audio_files == names

    (tmp_path / "night").mkdir()
    for name in names:
        (tmp_path / name).touch()
    boxes.df.to_csv(tmp_path / "boxes.csv", index=False)
    (tmp_path / "tables").mkdir()
    boxes.to_raven_files(tmp_path / "tables", audio_files=names)
    for source in (tmp_path / "boxes.csv", tmp_path):
        night = list_sounds(Source(str(source)))[0]
        assert [region.label for region in night.marks[0].regions[""]] == ["Owl", "Wren, far"]


def test_libraries_read_our_textgrids(tmp_path: Path) -> None:
    point = RegionRecord(3.0, 3.0, 'the "click"')
    path = written(tmp_path, "textgrid", record_of(OWL, WREN, point)) / "night" / "a b.TextGrid"
    grid = textgrid.TextGrid.fromFile(str(path))
    assert [tier.name for tier in grid.tiers] == ["label", "label points", "label (2)"]
    assert [(i.minTime, i.maxTime, i.mark) for i in grid.tiers[0] if i.mark] == [(0.5, 1.25, "Owl")]
    sequence = crowsetta.formats.seq.TextGrid.from_file(path).to_seq(tier=0)
    assert list(sequence.labels) == ["Owl"]


def test_pympi_reads_our_elan_documents(tmp_path: Path) -> None:
    record = record_of(OWL, WREN, annotator="anna@example.com")
    path = written(tmp_path, "elan", record) / "night" / "a b.eaf"
    document = Eaf(str(path))
    assert list(document.get_tier_names()) == ["label", "label (2)"]
    assert document.get_annotation_data_for_tier("label") == [(500, 1250, "Owl")]
    assert document.get_parameters_for_tier("label")["ANNOTATOR"] == "anna@example.com"
    assert [media["RELATIVE_MEDIA_URL"] for media in document.get_linked_files()] == ["./a b.wav"]


def test_rttm_is_as_diarization_tools_read_it(tmp_path: Path) -> None:
    path = written(tmp_path, "rttm", record_of(OWL, replace(WREN, score=0.5)))
    assert path.read_text().splitlines() == [
        "SPEAKER night/a_b 1 0.5 0.75 <NA> <NA> Owl <NA> <NA>",
        "SPEAKER night/a_b 1 1.0 1.75 <NA> <NA> Wren,_far 0.5 <NA>",
    ]
    (record,) = FORMATS["rttm"].load().read(path)
    assert record.regions["label"] == (OWL, RegionRecord(1.0, 2.75, "Wren,_far", 0.5))
    path.write_text("SPEAKER a 1 0.5\n")
    with pytest.raises(FormatError, match="line 1"):
        list(FORMATS["rttm"].load().read(path))


def test_sed_eval_scores_our_event_lists(tmp_path: Path) -> None:
    path = written(tmp_path, "dcase", record_of(OWL))
    reference = sed_eval.io.load_event_list(str(path))
    metrics = sed_eval.sound_event.EventBasedMetrics(["Owl"])
    metrics.evaluate(reference, reference)
    assert metrics.results_overall_metrics()["f_measure"]["f_measure"] == pytest.approx(1.0)
    assert np.isclose(reference[0].onset, 0.5)


def tasks(*labels: str) -> list[dict[str, Any]]:
    results = [
        {"from_name": "label", "to_name": "audio", "type": "labels", "id": str(n),
         "value": {"start": n, "end": n + 1, "labels": [label]}}
        for n, label in enumerate(labels)
    ]  # fmt: skip
    data = {"audio": "/data/a.wav", "fname": "a.wav", "duration": 10.0}
    return [{"id": 1, "data": data, "annotations": [{"id": 2, "result": results}]}]


@pytest.mark.parametrize("name", ["raven", "audacity", "dcase", "textgrid", "elan", "rttm", "csv"])
def test_an_odd_label_leaves_out_its_region_alone(tmp_path: Path, name: str) -> None:
    odd = "half \ud800" if name == "csv" else "O\twl"
    controls = parse_label_config(CONFIG)

    def exported(*labels: str) -> tuple[Any, Sequence[ClipRecord], Any]:
        module, path = FORMATS[name].load(), tmp_path / f"out{len(labels)}"
        with module.writing(path) as add:
            reader = TaskReader(controls, "audio")
            outcome = run(tasks(*labels), reader, RecordFilter(), add, lambda n: None, module.check_label)
        spans = annotated.read(annotated.path_beside(path, FORMATS[name].is_folder))
        return outcome, list(module.read(path)) if outcome.rows else [], spans

    outcome, back, spans = exported("Owl", odd, "Owl")
    assert (outcome.failed, len(outcome.labels_failed), outcome.sounds) == ([], 1, 1)
    assert [r.label for record in back for group in record.regions.values() for r in group] == ["Owl", "Owl"]
    ((_, parts),) = spans.items()
    assert [(span.start, span.end) for span in parts] == [(0.0, 1.0), (2.0, 10.0)]
    outcome, back, spans = exported(odd)
    assert len(outcome.labels_failed) == 1
    assert all(not record.regions for record in back), "a lost region does not mean that nothing sounds"


def records_of(tasks: list[dict[str, Any]], check_label: Callable[[str], None]) -> list[ClipRecord]:
    """What an export of these tasks writes."""
    written: list[ClipRecord] = []

    def add(records: Sequence[ClipRecord]) -> int:
        written.extend(records)
        return len(records)

    reader = TaskReader(parse_label_config(CONFIG), "audio")
    run(tasks, reader, RecordFilter(), add, lambda n: None, check_label)
    return written


def test_each_label_of_a_long_recording_is_checked_once() -> None:
    checked: list[str] = []
    (record,) = records_of(tasks(*["Owl", "Wren"] * 20), checked.append)
    assert sorted(checked) == ["Owl", "Wren"]
    assert sum(len(group) for group in record.regions.values()) == 40
