"""Tables that Label Studio exports."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import FormatError
from earmark.importing.field.label_studio_tables import list_table
from earmark.importing.table_columns import Columns
from tests.importing.field.cases import labels_of

HEADER = ("annotation_id", "annotator", "lead_time", "updated_at", "id", "audio", "label")


def table_of(folder: Path, *rows: tuple[int, list[dict[str, Any]]]) -> Path:
    path = folder / "project.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for number, (task, results) in enumerate(rows):
            table.writerow((number, "anna", 1.0, "", task, f"/data/upload/1/{task}.wav", json.dumps(results)))
    return path


def test_annotations_of_a_task_are_records_of_one_sound(tmp_path: Path) -> None:
    owl = {"start": 0, "end": 1, "labels": ["Owl"]}
    path = table_of(tmp_path, (1, [owl]), (2, [owl]), (1, [{"start": -0.001, "end": 1, "labels": "Wren"}]))
    (_, first), (_, second) = list_table(path, Columns())
    assert (first.origin, second.origin) == ("/data/upload/1/1.wav", "/data/upload/1/2.wav")
    assert labels_of(first) == [(0.0, 1.0, "Owl"), (0.0, 1.0, "Wren")]
    assert (len(first.marks), len(second.marks)) == (2, 1)


@pytest.mark.parametrize("start", ["x", None, float("nan"), 2])
def test_a_region_without_usable_times_is_named_by_its_line(tmp_path: Path, start: object) -> None:
    path = table_of(tmp_path, (1, [{"start": start, "end": 1, "labels": ["Owl"]}]))
    with pytest.raises(FormatError, match="line 2"):
        list_table(path, Columns())
