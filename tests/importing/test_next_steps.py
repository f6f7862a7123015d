"""Next steps after an import, and label configs that it refuses before Label Studio does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.simulated_label_studio import SimulatedLabelStudio, studio
from earmark.errors import LabelConfigError
from earmark.importing import import_run
from earmark.importing.import_checks import check_required_fields
from earmark.importing.import_run import Request, run
from earmark.importing.models import Sound
from earmark.importing.next_steps import next_steps
from earmark.importing.sources import Source
from earmark.labelstudio.client import client_for
from earmark.labelstudio.projects import required_fields
from earmark.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"
TWO_SOUNDS = (
    '<View><Audio name="a" value="$audio"/><Audio name="b" value="$second"/>'
    '<Choices name="t" toName="a"><Choice value="Bell"/></Choices></View>'
)


@pytest.fixture
def label_studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedLabelStudio]:
    monkeypatch.setattr(studio, "ask", lambda *_: {"model_version": "logmel-v0"})
    with SimulatedLabelStudio(tmp_path, TOKEN) as running:
        running.send = lambda _: None
        yield running


def settings_for(running: SimulatedLabelStudio, folder: Path) -> Settings:
    return Settings(
        _env_file=None, data_dir=folder / "data", label_studio_url=running.url, label_studio_api_key=TOKEN
    )


@pytest.mark.parametrize(
    ("connected", "annotated", "commands"),
    [
        (False, True, ["connect", "preannotate"]),
        (True, True, ["sync", "preannotate"]),
        (True, False, ["preannotate"]),
    ],
)
def test_the_commands_that_bring_predictions(
    connected: bool, annotated: bool, commands: list[str], label_studio: SimulatedLabelStudio, tmp_path: Path
) -> None:
    number = label_studio.create_project("Night calls", "<View/>")
    if connected:
        label_studio.connect({"url": "http://127.0.0.1:1", "project": number, "title": "logmel-v0"})
    client = client_for(settings_for(label_studio, tmp_path))
    lines = next_steps(client, label_studio.url, number, "Night calls", annotated=annotated)[1:]
    shown = [line.split("earmark ")[1] for line in lines]
    assert shown == [f"{command} 'Night calls'" for command in commands]
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        (TWO_SOUNDS, {"audio": "Audio", "second": "Audio"}),
        ('<View><Header value="$title"/><Audio name="a" value="$rec.url"/></View>', {"rec": "Audio"}),
        ('<View><Audio name="a" value="https://h/$file.wav"/></View>', {"file": "Audio"}),
        (
            '<View><Audio name="a" value="$x"/><Choices name="c" value="$all"/><Labels name="l"/></View>',
            {"x": "Audio", "all": "Choices"},
        ),
    ],
)
def test_fields_that_label_studio_demands(config: str, fields: dict[str, str]) -> None:
    assert required_fields(config) == fields


def test_uploads_to_a_project_with_two_sounds_are_refused_before_a_file_is_read(
    label_studio: SimulatedLabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio.create_project("Two sounds", TWO_SOUNDS)
    monkeypatch.setattr(import_run, "list_sounds", lambda *_: pytest.fail("looked at files"))
    with pytest.raises(LabelConfigError, match=r"\$audio.*\$second.*--as-urls"):
        run(Request(Source(str(tmp_path)), "two SOUNDS"), settings_for(label_studio, tmp_path))


def test_a_second_field_that_no_column_fills_is_named(
    label_studio: SimulatedLabelStudio, tmp_path: Path, write_sound: Callable[..., Path]
) -> None:
    label_studio.create_project("Two sounds", TWO_SOUNDS)
    write_sound(tmp_path / "in" / "a.wav", 1)
    (tmp_path / "in" / "list.csv").write_text("fname,labels,second\na.wav,Bell,\n")
    request = Request(Source(str(tmp_path / "in")), "Two sounds", where="local-files")
    settings = settings_for(label_studio, tmp_path).model_copy(
        update={"label_studio_local_files_document_root": tmp_path}
    )
    with pytest.raises(LabelConfigError, match=r"column second.*nothing was imported"):
        run(request, settings)


def test_a_column_fills_the_second_field(sound: Callable[..., Sound]) -> None:
    filled: Any = sound("a.wav", fields={"second": "/b.wav"})
    check_required_fields(TWO_SOUNDS, "local-files", [filled], "audio")
