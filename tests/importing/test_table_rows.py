"""Rows of tables: fields of the task, and those of events."""

from __future__ import annotations

from pathlib import Path

from earmark.importing.sources import Source, list_sounds
from tests.importing.field.cases import Case, prepared


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
