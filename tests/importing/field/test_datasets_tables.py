"""Tables of exports for Hugging Face's ``datasets``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from earmark.errors import FormatError
from earmark.export import datasets_folder
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.field.datasets_tables import list_table
from earmark.importing.sources import Source, list_sounds
from tests.importing.field.cases import labels_of


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


@pytest.mark.parametrize(
    ("labels", "events"),
    [
        ('"Owl"', "[]"),
        ('["Owl"]', '[{"label": "Owl", "start": NaN, "end": 1}]'),
        ('["Owl"]', '[{"label": "Owl", "start": 2, "end": 1}]'),
        ('["Owl"]', '[{"label": "Owl", "start": 0, "end": 1, "score": "high"}]'),
        ('["Owl"]', '[{"label": "Owl"}]'),
        ("[", "[]"),
    ],
)
def test_a_damaged_cell_is_named_by_its_line(tmp_path: Path, labels: str, events: str) -> None:
    table = tmp_path / "metadata.csv"
    cells = ("a.wav", labels, events, "", "4.0", "1")
    quoted = ",".join(json.dumps(cell).replace('\\"', '""') for cell in cells)
    table.write_text(",".join(datasets_folder.COLUMNS) + "\n" + quoted + "\n")
    with pytest.raises(FormatError, match="line 2"):
        list_table(table)
