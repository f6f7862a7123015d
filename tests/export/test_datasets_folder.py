"""The folder for Hugging Face's ``datasets``, read by pandas, and by the library where it is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile

from earmark.errors import SoundNotFoundError, TaskError
from earmark.export.datasets_folder import writing
from earmark.export.records import ClipRecord, RegionRecord

DATA = {"audio": "/data/a.wav", "depth": 13.5, "year": 2019, "tags": ["x"], "labels": "own"}
FIRST = ClipRecord(
    "site/a.wav", "/data/a.wav", 3, DATA, 0.5, tags={"tags": ("rain, heavy",)},
    regions={"label": (RegionRecord(0.1, 0.2, "Owl", 0.5),)}, annotator="anna@example.com",
)  # fmt: skip
SECOND = ClipRecord("site/a.wav", "/data/a.wav", 3, DATA, 0.5, tags={"tags": ("wind",)}, annotator="ben")
OTHER = ClipRecord("site/A.wav", "/data/b.flac", 4, {"audio": "/data/b.flac", "depth": 7}, 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, np.zeros(4000), 8000)

    def locate(address: str) -> Path:
        path = tmp_path / Path(address).name
        if not path.exists():
            raise SoundNotFoundError(f"There is no {address}.")
        return path

    return written(tmp_path / "out", locate)


def written(path: Path, locate: Callable[[str], Path]) -> Path:
    with writing(path, locate) as add:
        assert add([FIRST, SECOND]) == add([OTHER]) == 1
        with pytest.raises(SoundNotFoundError):
            add([ClipRecord("gone.wav", "/data/gone.wav")])
        with pytest.raises(TaskError, match="no address"):
            add([ClipRecord("nowhere.wav")])
    return path


def test_pandas_reads_the_metadata(folder: Path) -> None:
    table = pandas.read_csv(folder / "metadata.csv")
    assert list(table["file_name"]) == ["site/a.wav", "site/A (2).flac"]
    assert all((folder / name).is_file() for name in table["file_name"])
    first = table.iloc[0]
    assert json.loads(first["labels"]) == ["rain, heavy", "Owl", "wind"]
    assert json.loads(first["events"]) == [
        {"start": 0.1, "end": 0.2, "label": "Owl", "score": 0.5, "annotator": "anna@example.com"}
    ]
    assert (first["annotators"], first["depth"], first["year"]) == ("anna@example.com, ben", 13.5, 2019)
    assert (json.loads(first["tags"]), first["data.labels"]) == (["x"], "own")
    assert "audio" not in table.columns
    assert table.iloc[1]["labels"] == "[]"


@pytest.mark.skipif(
    find_spec("datasets") is None or find_spec("torchcodec") is None,
    reason="Earmark does not need datasets, which reads sound by torchcodec and CUDA's libraries alone",
)
def test_datasets_loads_the_folder(folder: Path, tmp_path: Path) -> None:
    import datasets

    loaded = datasets.load_dataset("audiofolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
    rows = loaded["train"].cast_column("audio", datasets.Audio(decode=False))
    assert rows.num_rows == 2
    by_task = {row["task_id"]: row for row in rows}
    assert Path(by_task[3]["audio"]["path"]).name == "a.wav"
    assert by_task[3]["depth"] == 13.5


def test_what_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "out", Path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
