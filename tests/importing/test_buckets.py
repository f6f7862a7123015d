"""Bucket sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.errors import ConfigurationError, MissingExtraError
from earmark.export.records import RegionRecord
from earmark.importing import remote_sources
from earmark.importing.audio_checks import Checker, read_facts
from earmark.importing.models import Listed
from earmark.importing.sources import Source, list_sounds
from earmark.settings import Settings
from tests.buckets import Bucket, bucket

__all__ = ["bucket"]


def test_a_prefix_is_listed_and_its_sounds_are_heard_once(
    bucket: type[Bucket], tmp_path: Path, settings: Settings, write_sound: Callable[..., Path]
) -> None:
    path = write_sound(tmp_path / "a.wav")
    bucket.objects |= {
        "2024/owl & wren/a b.wav": path.read_bytes(),
        "2024/.hidden/c.wav": b"",
        "2024/notes.txt": b"",
        "2025/d.wav": path.read_bytes(),
    }
    listed = list_sounds(Source("s3://calls/2024"))
    assert [(item.fname, item.address) for item in listed] == [
        ("owl & wren/a b.wav", "s3://calls/2024/owl & wren/a b.wav")
    ]
    checked = Checker(settings).check(listed[0])
    assert checked.facts == read_facts(path, "a.wav")
    again = Checker(settings).check(listed[0])
    assert again == checked
    assert bucket.fetched.count("2024/owl & wren/a b.wav") == 1
    assert checked.path is not None
    assert not checked.path.exists()
    checked_again = Checker(settings, keep_objects=True).check(listed[0])
    assert checked_again == checked
    assert checked.path.read_bytes() == path.read_bytes()
    missing = Checker(settings).check(Listed(None, "x.wav", origin="s3://calls/x.wav"))
    assert "There is no s3://calls/x.wav" in missing.why


def test_label_files_of_a_bucket_are_read_as_those_of_a_folder(
    bucket: type[Bucket],
    tmp_path: Path,
    settings: Settings,
    write_sound: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = "Selection\tBegin Time (s)\tEnd Time (s)\tAnnotation\n1\t0.05\t{}\tOwl\n"
    bucket.objects |= {
        "night/site & a/a b.wav": write_sound(tmp_path / "a.wav").read_bytes(),
        "night/site & a/a b.Table.1.selections.txt": table.format("0.1").encode(),
        "night/c.wav": b"",
        "night/c.txt": table.format("x").encode(),
        "night/c.txt/d.txt": b"",
        "night/.hidden/c.txt": table.format("0.2").encode(),
    }
    announced: list[str] = []
    sentences: list[str] = []
    first, second = list_sounds(Source("s3://calls/night"), sentences.append, announced.append)
    assert (first.fname, second.fname) == ("c.wav", "site & a/a b.wav")
    assert first.path is second.path is None
    (record,) = second.marks
    assert record.regions == {"": (RegionRecord(0.05, 0.1, "Owl"),)}
    assert announced[0].startswith("beside 2 recordings: Raven tables (1 file); ")
    del bucket.objects["night/c.txt/d.txt"]
    list_sounds(Source("s3://calls/night"), sentences.append)
    assert any("c.txt" in sentence and "line 2" in sentence for sentence in sentences)
    assert all(item.marks == () for item in list_sounds(Source("s3://calls/night", format="none")))
    monkeypatch.setattr(remote_sources, "MOST_LABEL_BYTES", 10)
    bucket.fetched.clear()
    assert all(item.marks == () for item in list_sounds(Source("s3://calls/night"), sentences.append))
    assert bucket.fetched == []
    assert sentences[-1].startswith("2 files")
    facts = Checker(settings).check(second).facts
    assert facts is not None, "the recording is still fetched from the bucket"


def test_what_is_wrong_with_a_bucket_is_said_in_a_sentence(bucket: type[Bucket]) -> None:
    with pytest.raises(ConfigurationError, match="no sound in"):
        list_sounds(Source("s3://calls/2023/"))
    with pytest.raises(ConfigurationError, match="s3://other/"):
        list_sounds(Source("s3://other/"))
    with pytest.raises(MissingExtraError, match="gcsfs"):
        list_sounds(Source("gs://calls/"))
