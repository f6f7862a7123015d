"""Sample files of every tool and data set, made by the tools' own rules, with the labels that they hold."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from earmark.importing.models import Listed

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
            "dawn.wav": [(0.1, 0.4, "Wren"), (1.0, 1.5, "")],
            "noon.wav": [],
        },
        announced="beside 3 recordings: Raven tables (2 files); recordings with labels: 2",
    ),
    Case(
        "raven-many",
        ("site1/a.wav", "site1/b.wav", "site2/a.wav"),
        {
            "site1/a.wav": [(0.5, 1.0, "Owl")],
            "site1/b.wav": [(0.25, 0.75, "Wren")],
            "site2/a.wav": [(0.5, 1.5, "Owl")],
        },
        announced="beside 3 recordings: Raven tables (1 file); recordings with labels: 3",
    ),
    Case(
        "raven-many/all.Table.1.selections.txt",
        ("site1/a.wav", "site1/b.wav", "site2/a.wav"),
        {"site1/a.wav": [(0.5, 1.0, "Owl")], "site1/b.wav": [(0.25, 0.75, "Wren")],
         "site2/a.wav": [(0.5, 1.5, "Owl")]},
    ),
    Case("audacity", ("call.wav",), {"call.wav": [(0.5, 1.25, "Owl"), (2.0, 2.0, "Wren")]},
         announced="beside 1 recording: Audacity label tracks (1 file); "),
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
            "night2/S4A01_20240517_213000.wav": [(0.25, 0.75, "PIPPIP"), (2.25, 2.75, "")],
        },
        fields={"night1/S4A01_20240517_213000.wav": {"site": "night1", "recorded_at": "2024-05-17T21:30:00"}},
    ),
    Case("kaleidoscope-auto", ("x.wav",), {"x.wav": [(0.5, 1.5, "EPTFUS")]}, "prediction"),
    Case("rttm", ("talk.wav",), {"talk.wav": [(0.5, 1.25, "anna"), (1.0, 2.25, "ben", 0.85)]}),
    Case("textgrid", ("night.wav", "short.wav"), {
        "night.wav": [(0.5, 1.25, "Owl"), (2.0, 2.75, 'Wren "song"'), (3.0, 3.0, "click")],
        "short.wav": [(0.5, 1.25, "Owl")],
    }, announced="beside 2 recordings: TextGrids (2 files); "),
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
