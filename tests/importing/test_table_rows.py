"""Rows of tables: fields of the task, and those of events."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import ConfigurationError, EarmarkError, FormatError
from earmark.export.formats import FORMATS, FormatName
from earmark.export.records import ClipRecord, RegionRecord
from earmark.importing.sources import Source, list_sounds
from earmark.importing.table_columns import Columns
from tests.importing.field.cases import Case, labels_of, prepared


def test_columns_of_events_are_no_fields_of_the_sound(tmp_path: Path) -> None:
    sentences: list[str] = []
    calls = prepared(tmp_path, Case("plain/calls.csv", ("a.wav",), {}))
    (a,) = list_sounds(Source(str(calls)), sentences.append)
    assert a.fields == {"depth": 3}
    assert any("SNR" in sentence for sentence in sentences)
    with calls.open("a") as file:
        file.write("b.wav,0.5,1.0,Owl,20,7\n")
    _, b = list_sounds(Source(str(calls)))
    assert b.fields == {"depth": 7}, "also of a sound with one event"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('fname,label\na.wav,owl\nb.wav,"wren\nc.wav,robin\n', 3),
        ('fname,label,notes\na.wav,owl,"loud\nb.wav,wren,"x"\nc.wav,robin,\n', 2),
        ('fname,label\na.wav,owl\n"b.wav,wren', 3),
        ('fname,label\na.wav,"owl\nb.wav,"\n', 3),
        ('# Segments csv\n# YTID, start_seconds, end_seconds, positive_labels\nx, 0, 1, "a\ny, 0, 1, z', 3),
    ],
)  # fmt: skip
def test_a_quotation_mark_that_is_not_closed_is_named_by_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.wav").touch()
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(EarmarkError, match=rf"line {line}\b"):
        list_sounds(Source(str(table)))
    sentences: list[str] = []
    assert all(item.marks == () for item in list_sounds(Source(str(tmp_path)), sentences.append))
    assert any(f"line {line}" in sentence for sentence in sentences)


def test_cells_over_several_lines_and_text_after_a_quotation_are_read(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('fname,label,notes\na.wav,"Owl" far,"loud,\n""close"""\nb.wav,wren,\n')
    a, b = list_sounds(Source(str(table)))
    assert (labels_of(a), labels_of(b)) == ([("Owl far",)], [("wren",)])
    assert a.fields == {"notes": 'loud,\n"close"'}


@pytest.mark.parametrize("name", ["csv", "fsdkaggle", "dcase"])
def test_an_export_that_lost_its_end_is_named_by_its_line(tmp_path: Path, name: FormatName) -> None:
    path = tmp_path / f"out.{name}"
    with FORMATS[name].load().writing(path) as add:
        add(
            [
                ClipRecord(
                    '"a".wav', tags={"tags": ("Owl",)}, regions={"label": (RegionRecord(0, 1, '"Owl"'),)}
                )
            ]
        )
    path.write_text(path.read_text() + '"b.wav')
    with pytest.raises(FormatError, match=r"line [34]\b"):
        list(FORMATS[name].load().read(path))


def test_a_table_with_semicolons_may_have_decimal_commas(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("fname;start;end;score;label\na.wav;0,5;1,25;0,75;owl, far\n")
    (a,) = list_sounds(Source(str(table), columns=Columns(separator="|")))
    assert labels_of(a) == [(0.5, 1.25, "owl, far", 0.75)]
    table.write_text('fname,start,end,label\na.wav,"0,5",1,owl\n')
    with pytest.raises(ConfigurationError, match="line 2"):
        list_sounds(Source(str(table)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        ("fname,label\na.wav,owl\nb.wav,K\u00e4uzchen\n".encode("cp1252"), "line 3: this is not UTF-8"),
        (b"fname,label\n" + b"a.wav,owl\n" * 5000 + b"b.wav,K\xe4uze\n", "line 5002: this is not UTF-8"),
    ],
)
def test_a_table_that_is_empty_or_no_utf_8_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(content)
    with pytest.raises(ConfigurationError, match=expected):
        list_sounds(Source(str(table)))
