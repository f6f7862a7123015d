"""Site and time from the names that recorders give their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.importing.sources import Source, list_sounds


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("plot7/20240517_043000.WAV", {"site": "plot7", "recorded_at": "2024-05-17T04:30:00"}),
        ("SMM01234_20240517_043000.wav", {"site": "SMM01234", "recorded_at": "2024-05-17T04:30:00"}),
        ("5E90A4D4.WAV", {"site": "pond", "recorded_at": "2020-04-10T16:54:44+00:00"}),
        ("20241799_043000.WAV", {}),
        ("take5.wav", {}),
    ],
)
def test_recorders_write_the_time_into_the_name(tmp_path: Path, name: str, fields: dict[str, str]) -> None:
    folder = tmp_path / "pond"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).touch()
    (item,) = list_sounds(Source(str(folder)))
    assert item.fields == fields
