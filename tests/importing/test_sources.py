"""Every kind of import source, from its content to the list of sounds."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import ConfigurationError, EarmarkError
from earmark.export.records import RegionRecord
from earmark.importing.folders import list_folder
from earmark.importing.sources import Source, list_sounds
from earmark.importing.table_columns import Columns


def tags(path: Path, columns: Columns | None = None) -> dict[str, tuple[str, ...]]:
    listed = list_sounds(Source(str(path), columns=columns or Columns()))
    return {item.fname: item.marks[0].tags[""] if item.marks else () for item in listed}


def test_a_folder_is_searched_through_and_sorted(tmp_path: Path) -> None:
    for name in ("b.WAV", "a/z.flac", "a/x.ogg", ".hidden/h.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item.fname for item in list_folder(tmp_path)] == ["a/x.ogg", "a/z.flac", "b.WAV"]
    assert [item.fname for item in list_folder(tmp_path, ["a/*.flac", "*.txt"])] == ["a/z.flac", "notes.txt"]
    assert [item.fname for item in list_folder(tmp_path, exclude=["a/*"])] == ["b.WAV"]
    labelled = list_folder(tmp_path, labelled=True)
    assert [item.marks[0].tags if item.marks else {} for item in labelled] == [
        {"": ("a",)},
        {"": ("a",)},
        {},
    ]
    with pytest.raises(ConfigurationError, match="no folder"):
        list_folder(tmp_path / "none")


def test_links_are_followed_and_no_folder_is_listed_twice(tmp_path: Path) -> None:
    source, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for name in ("in/b/own.wav", "elsewhere/deep/far.wav"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (source / "a-link").symlink_to(source / "b")
    (source / "b" / "up").symlink_to(source)
    (source / "out").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(source)
    (elsewhere / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (source / "loop.wav").symlink_to(source / "loop.wav")
    names = [item.fname for item in list_folder(source)]
    assert names == ["b/own.wav", "loop.wav", "out/deep/far.wav", "out/gone.wav"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    really = os.scandir

    def scandir(path: Path) -> Any:  # rights do not hold for root, who runs tests in containers
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return really(path)

    messages: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert [item.fname for item in list_folder(tmp_path, say=messages.append)] == ["a.wav"]
    assert "closed cannot be read (Permission denied)" in messages[0]


def test_a_csv_as_fsdkaggle_writes_it(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text(
        '﻿fname,labels,other\n1.wav,"Bark,Meow",x\n2.wav,Bark,\n1.wav," Purr ,Bark",y\n3.wav,,x\n'
    )
    listed = list_sounds(Source(str(table)))
    assert [(item.path, item.fname, item.fields) for item in listed] == [
        (tmp_path / "1.wav", "1.wav", {}),
        (tmp_path / "2.wav", "2.wav", {}),
        (tmp_path / "3.wav", "3.wav", {"other": "x"}),
    ]
    assert tags(table) == {"1.wav": ("Bark", "Meow", "Purr"), "2.wav": ("Bark",), "3.wav": ()}
    assert [item.fname for item in list_sounds(Source(str(table), include=("2*",)))] == ["2.wav"]


def test_trust_comes_from_a_column_or_for_all(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("fname,label,manually_verified\n1.wav,Bark,1\n2.wav,Bark,0\n3.wav,Bark,\n")
    columns = Columns(trust="manually_verified")
    listed = list_sounds(Source(str(table), columns=columns, trust="noisy"))
    assert [(item.trust, item.fields) for item in listed] == [("curated", {}), ("noisy", {}), ("noisy", {})]
    with pytest.raises(ConfigurationError, match=r"line 2.*curated"):
        list_sounds(Source(str(table), columns=Columns(trust="label")))


def test_regions_stand_one_a_row(tmp_path: Path) -> None:
    table = tmp_path / "calls.tsv"
    table.write_text(
        "file\tspecies\tfrom\tto\na.wav\tOwl\t1.5\t2\na.wav\tOwl,Wren\t0\t1\na.wav\tnight\t\t\nb.wav\tOwl\t0\t1\n"
    )
    a, b = list_sounds(Source(str(table), columns=Columns("file", "species", "from", "to")))
    assert a.marks[0].tags == {"": ("night",)}
    assert a.marks[0].regions == {
        "": (
            RegionRecord(1.5, 2.0, "Owl"),
            RegionRecord(0.0, 1.0, "Owl", id="1"),
            RegionRecord(0.0, 1.0, "Wren", id="1"),
        )
    }
    assert b.marks[0].tags == {}


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        (b"clip,labels\n", Columns(), "no column fname"),
        (b"", Columns(), "column"),
        (b"\xff\xfe\x00", Columns(), "UTF-8"),
        (b"fname,labels\n", Columns(labels="tag"), "no column tag"),
        (b"fname,labels,a,b\n1,x,2,1\n", Columns(start="a", end="b"), "line 2.*end after"),
        (b"fname,labels,a,b\n1,x,nan,1\n", Columns(start="a", end="b"), "not seconds"),
        (b"fname,labels,a,b\n1,x,0,1\n", Columns(start="a"), "both"),
        (b"fname,labels,p\n1,x,9\n", Columns(score="p"), "line 2.*0 to 1"),
        (b"fname,labels\n", Columns(), "no sound"),
        (b"fname,labels\n0.wav,a\n1.wav,a,extra,more\n", Columns(), 'line 3.*quotes, "a,b"'),
        (b"fname,labels,\n1.wav,a,extra\n", Columns(), "line 2.*quotes"),
        (b"fname,labels,labels\n1.wav,a,b\n", Columns(), "two columns labels"),
    ],
)
def test_a_csv_that_cannot_be_used_is_explained(
    tmp_path: Path, content: bytes, columns: Columns, words: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        list_sounds(Source(str(tmp_path / "t.csv"), columns=columns))


def test_empty_cells_and_an_index_are_no_fault(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(",fname,labels,,\n0,1.wav,a,,\n1,2.wav,b,,,,\n2,3.wav\n")
    assert tags(table) == {"1.wav": ("a",), "2.wav": ("b",), "3.wav": ()}


@pytest.mark.parametrize("labels", [["a", None, 3], {"a": 1}, [["a"]], True, [float("nan")]])
def test_labels_of_json_that_are_none_are_refused(tmp_path: Path, labels: object) -> None:
    table = tmp_path / "t.jsonl"
    rows = [{"fname": "0.wav", "labels": ["a", 3]}, {"fname": "1.wav", "labels": labels}]
    table.write_text("\n".join(map(json.dumps, rows[:1])))
    assert tags(table) == {"0.wav": ("a", "3")}
    table.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ConfigurationError, match=r"line 2.*labels is .*must be text"):
        list_sounds(Source(str(table)))


@given(content=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")), suffix=st.sampled_from(
    [".csv", ".tsv", ".jsonl", ".json", ".txt"]
))  # fmt: skip
def test_no_content_of_a_table_is_a_crash(
    tmp_path_factory: pytest.TempPathFactory, content: str, suffix: str
) -> None:
    table = tmp_path_factory.mktemp("t") / f"t{suffix}"
    table.write_text("fname,labels\n" * (suffix == ".csv") + content, encoding="utf-8", newline="")
    with contextlib.suppress(EarmarkError):
        assert list_sounds(Source(str(table)))


def test_json_lines_keep_the_types_of_extra_values(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    rows = [{"fname": "1.wav", "labels": ["Bark", "Purr, loud"], "depth": 3.5}, {"fname": "2.wav"}]
    table.write_text("\n".join(map(json.dumps, rows)))
    assert tags(table) == {"1.wav": ("Bark", "Purr, loud"), "2.wav": ()}
    assert list_sounds(Source(str(table)))[0].fields == {"depth": 3.5}


def test_urls_are_kept_as_they_are_and_named_by_their_path(tmp_path: Path) -> None:
    table = tmp_path / "urls.txt"
    table.write_text(
        "# birds\nhttps://x.org/a%20b.wav?k=1\n\nhttps://x.org/a%20b.wav?k=2\ns3://calls/c.wav\n"
    )
    listed = list_sounds(Source(str(table)))
    assert [item.fname for item in listed] == [
        "x.org/a b.wav", "https://x.org/a%20b.wav?k=2", "calls/c.wav",
    ]  # fmt: skip
    assert all(item.origin == item.address and item.path is None for item in listed)
    table.write_text("a.wav\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        list_sounds(Source(str(table)))


def test_files_that_are_served_elsewhere_get_that_address(
    tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    write_sound(tmp_path / "deep" / "a b.wav")
    (item,) = list_sounds(Source(str(tmp_path), base_url="https://x.org/s/"))
    assert (item.path, item.address) == (tmp_path / "deep" / "a b.wav", "https://x.org/s/deep/a%20b.wav")


def test_a_name_that_leads_out_of_the_folder_has_no_place(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("fname,labels\n../x.wav,a\n/etc/x.wav,a\nhttps://x.org/x.wav,a\n")
    listed = list_sounds(Source(str(tmp_path / "t.csv")))
    assert [(item.path, item.origin) for item in listed] == [
        (None, ""), (None, ""), (None, "https://x.org/x.wav"),
    ]  # fmt: skip


def test_absolute_paths_below_the_folder_are_names_in_it(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    table = tmp_path / "t.csv"
    paths = [
        f"{tmp_path}/link/deep/a.wav",
        f"{tmp_path}/real/b.wav",
        "/etc/c.wav",
        f"{tmp_path}/link/../d.wav",
    ]
    table.write_text("".join(f"{line}\n" for line in ("fname", *paths)))

    def listed(audio_dir: Path | None) -> list[tuple[str, bool]]:
        return [(i.fname, i.path is not None) for i in list_sounds(Source(str(table), audio_dir=audio_dir))]

    assert listed(tmp_path / "link") == [
        ("deep/a.wav", True), ("b.wav", True), ("/etc/c.wav", False), (paths[3], False),
    ]  # fmt: skip
    assert listed(Path("/")) == [
        (paths[0][1:], True), (paths[1][1:], True), ("etc/c.wav", True), (paths[3], False),
    ]  # fmt: skip
    assert [there for _, there in listed(None)] == [True, True, False, False]
