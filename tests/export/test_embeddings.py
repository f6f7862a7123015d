"""Embeddings export: files are read back by pyarrow and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from earmark.encoders import get_encoder
from earmark.errors import ConfigurationError, EarmarkError, SoundNotFoundError
from earmark.export.embeddings import GROUP_ROWS, writing
from earmark.export.records import ClipRecord, RegionRecord
from earmark.features.extractor import EncodedSound
from earmark.settings import Settings

REGIONS = (
    RegionRecord(0.8, 1.6, "Dog", 0.5, "anna", "r1"), RegionRecord(0.8, 1.6, "Rain, ü", 0.5, "anna", "r1"),
    RegionRecord(2.0, 2.0, "Dog", None, "anna", "r2"),
)  # fmt: skip
RECORD = ClipRecord(
    "a b.wav", "/a.wav", 3, duration=4.0, tags={"tags": ("wind",)}, tag_scores={"tags": 0.25},
    regions={"label": REGIONS}, annotator="anna", ground_truth=True, id=9,
)  # fmt: skip
STRETCH = ClipRecord(
    "cut.flac", "/b.wav", 4, {"source": "long.wav", "source_start": 30, "source_end": 34},
    regions={"label": (RegionRecord(1.0, 2.0, "Owl"),)},
)  # fmt: skip


@pytest.fixture
def sounds(settings: Settings) -> dict[str, EncodedSound]:
    encoder, rng = get_encoder(settings), np.random.default_rng(0)
    blocks = {
        name: rng.standard_normal(4 * encoder.sample_rate).astype(np.float32) for name in ("/a.wav", "/b.wav")
    }
    return {name: EncodedSound(name, 4.0, encoder.frames([block * 0.1])) for name, block in blocks.items()}


def write(path: Path, settings: Settings, sounds: dict[str, EncodedSound], whole_times: bool = True) -> int:
    def hear(address: str) -> EncodedSound:
        if address not in sounds:
            raise SoundNotFoundError(f"no {address}")
        return sounds[address]

    with writing(path, get_encoder(settings), hear, whole_times) as add:
        with pytest.raises(SoundNotFoundError):
            add([ClipRecord("gone.wav", "/gone.wav")])
        with pytest.raises(EarmarkError, match="no address"):
            add([ClipRecord("nowhere.wav")])
        return add([RECORD]) + add([STRETCH])


def expected(settings: Settings, sounds: dict[str, EncodedSound]) -> list[NDArray[Any]]:
    """Expected rows at one frame each 0.08 s: regions 0.8 to 1.6, at 2.0 and 1 to 2 s, and both clips."""
    encoder, (a, b) = get_encoder(settings), (sound.frames for sound in sounds.values())
    assert encoder.frame_rate == 12.5
    return [encoder.pool(frames) for frames in (a[10:20], a[25:26], a, b[12:25], b)]


def test_parquet(tmp_path: Path, settings: Settings, sounds: dict[str, EncodedSound]) -> None:
    assert write(tmp_path / "x.parquet", settings, sounds) == 5
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.metadata[b"encoder"].decode() == get_encoder(settings).identity
    rows = table.to_pylist()
    names = ("file_name", "kind", "control", "labels", "start", "end", "score", "annotator", "task_id")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("a b.wav", "region", "label", ["Dog", "Rain, ü"], 0.8, 1.6, 0.5, "anna", 3),
        ("a b.wav", "region", "label", ["Dog"], 2.0, 2.0, None, "anna", 3),
        ("a b.wav", "clip", "tags", ["wind"], 0.0, 4.0, 0.25, "anna", 3),
        ("long.wav", "region", "label", ["Owl"], 31.0, 32.0, None, None, 4),
        ("long.wav", "clip", None, [], 30.0, 34.0, None, None, 4),
    ]
    np.testing.assert_array_equal([row["embedding"] for row in rows], expected(settings, sounds))


def test_npz(tmp_path: Path, settings: Settings, sounds: dict[str, EncodedSound]) -> None:
    write(tmp_path / "x.npz", settings, sounds, whole_times=False)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["embedding"], expected(settings, sounds))
        assert arrays["embedding"].dtype == np.float32
        assert arrays["label_names"].tolist() == ["Dog", "Owl", "Rain, ü", "wind"]
        assert arrays["targets"].astype(int).tolist() == [
            [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0],
        ]  # fmt: skip
        assert arrays["labels"].tolist() == ["Dog\tRain, ü", "Dog", "wind", "Owl", ""]
        assert arrays["file_name"].tolist() == ["a b.wav"] * 3 + ["cut.flac"] * 2
        assert arrays["start"].tolist() == [0.8, 2.0, 0.0, 1.0, 0.0]
        assert arrays["encoder"].item() == get_encoder(settings).identity


def test_more_rows_than_wait_in_memory(
    tmp_path: Path, settings: Settings, sounds: dict[str, EncodedSound]
) -> None:
    count = GROUP_ROWS + 3
    with writing(tmp_path / "x.parquet", get_encoder(settings), sounds.__getitem__) as add:
        for number in range(count):
            add([ClipRecord("a.wav", "/a.wav", number)])
    assert pq.read_table(tmp_path / "x.parquet")["task_id"].to_pylist() == list(range(count))


@pytest.mark.parametrize("name", ["x.parquet", "x.npz"])
def test_none_at_all(tmp_path: Path, settings: Settings, name: str) -> None:
    sounds: dict[str, EncodedSound] = {}
    with writing(tmp_path / name, get_encoder(settings), sounds.__getitem__):
        pass
    if name.endswith("npz"):
        with np.load(tmp_path / name) as arrays:
            assert arrays["embedding"].shape == (0, get_encoder(settings).embedding_dim)
    else:
        assert pq.read_table(tmp_path / name).num_rows == 0


@pytest.mark.parametrize("name", ["x.parquet", "x.npz"])
def test_what_is_stopped_leaves_nothing(
    tmp_path: Path, settings: Settings, sounds: dict[str, EncodedSound], name: str
) -> None:
    folder = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt), writing(folder / name, get_encoder(settings), sounds.__getitem__):
        raise KeyboardInterrupt
    assert list(folder.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path: Path, settings: Settings) -> None:
    sounds: dict[str, EncodedSound] = {}
    with (
        pytest.raises(ConfigurationError, match="parquet"),
        writing(tmp_path / "x.csv", get_encoder(settings), sounds.__getitem__),
    ):
        pass


@pytest.mark.parametrize("name", ["x.parquet", "x.npz"])
def test_fields_of_tasks_keep_their_types(
    tmp_path: Path, settings: Settings, sounds: dict[str, EncodedSound], name: str
) -> None:
    fields = [
        {"depth": 100, "height": 1, "site": "north", "open": True, "mixed": 1, "where": {"lat": 48.1}},
        {"height": 13.5, "mixed": "b", "empty": None},
    ]
    with writing(tmp_path / name, get_encoder(settings), sounds.__getitem__) as add:
        for number, data in enumerate(fields):
            add([ClipRecord("a.wav", "/a.wav", number, data)])
    if name.endswith("parquet"):
        table = pq.read_table(tmp_path / name)
        types = {field.name: str(field.type) for field in table.schema if field.name.startswith("data.")}
        assert types == {
            "data.depth": "int64", "data.height": "double", "data.site": "string", "data.open": "bool",
            "data.mixed": "string", "data.where": "string",
        }  # fmt: skip
        assert table["data.depth"].to_pylist() == [100, None]
        assert table["data.height"].to_pylist() == [1.0, 13.5]
        assert table["data.mixed"].to_pylist() == ["1", "b"]
        assert table["data.where"].to_pylist() == ['{"lat": 48.1}', None]
    else:
        with np.load(tmp_path / name, allow_pickle=False) as arrays:
            assert arrays["data.height"].tolist() == [1.0, 13.5]
            assert np.array_equal(arrays["data.depth"], [100.0, np.nan], equal_nan=True)
            assert arrays["data.site"].tolist() == ["north", ""]
