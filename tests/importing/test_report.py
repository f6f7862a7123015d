"""The import report: every file in the table, and a self-contained page, also with odd file names."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread

from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing import charts
from earmark.importing.audio_checks import Checked
from earmark.importing.importer import LeftOut, Outcome
from earmark.importing.models import Facts, Listed
from earmark.importing.quality_rules import Rules, apply_rules, sounds_of
from earmark.importing.report import write_report
from earmark.importing.spectrograms import examples


def checked(name: str, labels: Sequence[str] = (), duration: float = 1.0) -> Checked:
    marks = (ClipRecord(name, tags={"": tuple(labels)}),) if labels else ()
    return Checked(Listed(Path(name), name, marks, trust="noisy"), Facts(name, 9, duration, 8000, 2, -6.0))


def test_the_table_has_every_file_and_the_page_what_matters(tmp_path: Path) -> None:
    files = [
        checked("a.wav", ["Rain & <wind>", "$5"]),
        checked("<script>.wav", ["$5"], duration=90),
        Checked(Listed(None, "gone.wav"), why="There is no file gone.wav."),
        dataclasses.replace(checked("short.wav"), facts=Facts("s", 9, 0.01, 44100, 1, -20.0)),
    ]
    outcome = Outcome(states={"a.wav": "imported", "<script>.wav": "already there"})
    report = write_report(tmp_path / "deep", "'Town' <1>", apply_rules(files, Rules()), outcome)
    with report.table.open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "a.wav": "imported",
        "<script>.wav": "already there",
        "gone.wav": "left out",
        "short.wav": "left out",
    }
    assert (rows["a.wav"]["labels"], rows["a.wav"]["label_trust"]) == ("Rain & <wind>,$5", "noisy")
    assert (rows["short.wav"]["faults"], rows["gone.wav"]["reason"]) == (
        "short",
        "There is no file gone.wav.",
    )
    page = report.page.read_text()
    assert "<script>" not in page
    assert "Rain &amp; &lt;wind&gt;" in page
    assert not re.search(r"(src|href)=['\"]https?:", page), "nothing is fetched"
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawn) == 6
    assert "$5" in "".join("".join(ElementTree.fromstring(svg).itertext()) for svg in drawn)


def test_the_table_says_why_a_place_refused_a_sound(tmp_path: Path) -> None:
    loud = dataclasses.replace(checked("lo.aiff"), facts=Facts("a", 9, 1.0, 8000, 1, 0.0, clipped=0.5))
    why = "Label Studio takes no .aiff uploads."
    outcome = Outcome(left_out=[LeftOut("lo.aiff", why)] * 2, states={"lo.aiff": "left out"})
    report = write_report(tmp_path, "x", apply_rules([loud], Rules()), outcome)
    with report.table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["state"], row["faults"]) == ("left out", "clipped")
    assert row["reason"] == f"{why} 50.0% of it is at full scale."
    assert why in report.page.read_text()


def test_regions_beyond_the_end_are_cut_or_left_out_and_told(tmp_path: Path) -> None:
    regions = (
        RegionRecord(1.0, 2.0, "in"),
        RegionRecord(9.0, 10.05, "a frame over"),
        RegionRecord(10.0, 10.0, "moment"),
        RegionRecord(8.0, 15.0, "over"),
        RegionRecord(12.0, 20.0, "beyond"),
    )
    record = ClipRecord("a.wav", tags={"": ("night",)}, regions={"": regions})
    recording = Checked(Listed(Path("a.wav"), "a.wav", (record,)), Facts("a", 9, 10.0, 8000, 1, -6.0))
    (verdict,) = apply_rules([recording], Rules())
    assert (verdict.accepted, verdict.lost) == (True, 1)
    (sound,) = sounds_of([verdict], Rules())
    assert [(r.start, r.end, r.label) for r in sound.marks[0].regions[""]] == [
        (1.0, 2.0, "in"), (9.0, 10.0, "a frame over"), (10.0, 10.0, "moment"), (8.0, 10.0, "over"),
    ]  # fmt: skip
    report = write_report(tmp_path, "x", [verdict], Outcome(states={"a.wav": "imported"}))
    with report.table.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["state"], row["faults"]) == ("imported", "beyond")
    assert (
        row["reason"] == "It lasts 10.000 s: 1 of its regions cut at its end, 1 left out that lie beyond it."
    )
    assert "beyond" not in row["labels"]


def test_nothing_at_all_is_no_fault(tmp_path: Path) -> None:
    missing = [Checked(Listed(None, "gone.wav"), why="gone")]
    page = write_report(
        tmp_path, "x", apply_rules(missing, Rules()), Outcome(), ["3 <texts>."]
    ).page.read_text()
    assert "3 &lt;texts&gt;." in page
    assert "<svg" not in page
    assert "gone.wav" in page


def test_a_sound_of_each_label_is_shown(tmp_path: Path, write_sound: Callable[..., Path]) -> None:
    def there(name: str, *labels: str) -> Checked:
        path = write_sound(tmp_path / name, seconds=0.2)
        return dataclasses.replace(checked(name, labels), path=path)

    verdicts = apply_rules([there("both.wav", "Owl", "Wren"), there("owl.wav", "Owl")], Rules())
    missing = apply_rules([checked("gone.wav", ["Jay"])], Rules())
    shown = dict(examples([*verdicts, *missing]))
    assert set(shown) == {"Owl: owl.wav", "Wren: both.wav"}
    for image in shown.values():
        pixels = imread(io.BytesIO(base64.b64decode(image.partition(",")[2])))
        assert pixels.shape[:2] == (96, 256)
        assert pixels[..., :3].std() > 0.01
    unlabelled = apply_rules([there(f"{n}.wav") for n in range(40)], Rules())
    assert len(examples(unlabelled)) == 12


@pytest.mark.parametrize("values", [[1.0], [1.0] * 5, [0.001, 4000.0], [-200.0, 0.0], [0.0, 5.0]])
def test_any_spread_of_values_can_be_drawn(values: list[float]) -> None:
    drawn = charts.histogram("x", values, "s")
    assert drawn is not None
    assert ElementTree.fromstring(drawn[1]).tag.endswith("svg")
