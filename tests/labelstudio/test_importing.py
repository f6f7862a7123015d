"""What is imported, and as what: everything that needs no Label Studio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from backend.errors import ConfigurationError, LabelConfigError, LabelStudioError, SoundNotFoundError
from backend.labelstudio.config import parse_label_config
from backend.labelstudio.importing import Importer, Marking
from backend.labelstudio.places import LocalFiles, Uploads
from backend.labelstudio.projects import audio_data_key, create_project, find_control, make_label_config
from backend.labelstudio.results import read_result
from backend.labelstudio.sound_lists import Listed, Sound, inspect_all, list_csv, list_folder


def write_sound(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(400), 8000)
    return path


def sound(name: str, *labels: str, digest: str = "", size: int = 10) -> Sound:
    return Sound(Path("/sounds") / name, name, digest or name.ljust(64, "0"), size, labels)


def test_a_folder_is_searched_through_and_sorted(tmp_path: Path) -> None:
    for name in ("b.WAV", "a/z.flac", "a/x.ogg", ".hidden/h.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item.fname for item in list_folder(tmp_path)] == ["a/x.ogg", "a/z.flac", "b.WAV"]
    assert [item.fname for item in list_folder(tmp_path, ["a/*.flac", "*.txt"])] == ["a/z.flac", "notes.txt"]
    with pytest.raises(ConfigurationError, match="no folder"):
        list_folder(tmp_path / "none")


def test_a_csv_as_fsdkaggle_writes_it(tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text(
        '﻿fname,labels,other\n1.wav,"Bark,Meow",x\n2.wav,Bark,x\n1.wav," Purr ,Bark",x\n3.wav,,x\n'
    )
    assert list_csv(table) == [
        Listed(tmp_path / "1.wav", "1.wav", ("Bark", "Meow", "Purr")),
        Listed(tmp_path / "2.wav", "2.wav", ("Bark",)),
        Listed(tmp_path / "3.wav", "3.wav"),
    ]
    assert [item.fname for item in list_csv(table, patterns=["2*"])] == ["2.wav"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"file,labels\n", "no column fname"), (b"", "column"), (b"\xff\xfe\x00", "UTF-8")]
)
def test_a_csv_that_cannot_be_used_is_explained(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        list_csv(tmp_path / "t.csv")


def test_what_cannot_be_imported_is_left_out_with_the_reason(tmp_path: Path) -> None:
    good = write_sound(tmp_path / "in" / "good.wav")
    (tmp_path / "in" / "junk.wav").write_bytes(b"junk")
    (tmp_path / "in" / "empty.wav").touch()
    write_sound(tmp_path / "outside.wav")
    odd = os.fsdecode(b"odd-\xff.wav")
    items = [
        Listed(tmp_path / "in" / n, n)
        for n in ("good.wav", "junk.wav", "empty.wav", "gone.wav", "../outside.wav", odd)
    ]
    seen: list[None] = []
    sounds, left_out = inspect_all(items, lambda: seen.append(None))
    assert [(s.fname, s.size) for s in sounds] == [("good.wav", good.stat().st_size)]
    assert [left.fname for left in left_out] == [
        "junk.wav",
        "empty.wav",
        "gone.wav",
        "../outside.wav",
        "odd-?.wav",
    ]
    assert len(seen) == len(items)


def test_the_made_label_config_can_be_served() -> None:
    config = make_label_config(["Bark", 'Rain & "wind" <loud>'])
    (control,) = parse_label_config(config)
    assert (control.kind, control.labels) == ("multiple", ("Bark", 'Rain & "wind" <loud>'))
    assert audio_data_key(config) == control.data_key == "audio"


def test_a_label_config_without_audio_is_explained() -> None:
    for config in ("<View></View>", "<View"):
        with pytest.raises(LabelConfigError):
            audio_data_key(config)
    assert audio_data_key('<View><Audio name="a" value="$sound"/></View>') == "sound"


TWO_CHOICES = """<View><Audio name="audio" value="$audio"/>
<Choices name="one" toName="audio"><Choice value="a"/><Choice value="b"/></Choices>
<Choices name="many" toName="audio" choice="multiple">
<Choice value="c"/><Choice value="d"/></Choices></View>"""


def test_the_control_with_all_labels_is_taken() -> None:
    assert find_control(TWO_CHOICES, [sound("1", "c", "d")]).name == "many"
    assert find_control(TWO_CHOICES, [sound("1", "a"), sound("2", "b")]).name == "one"


@pytest.mark.parametrize(
    ("sounds", "words"),
    [
        ([sound("1", "a", "x"), sound("2", "x")], r"x \(2 files\)"),
        ([sound("1", "a", "b")], 'choice="multiple"'),
        ([sound("1", "a", "c")], "missing"),
    ],
)
def test_labels_without_a_place_are_refused(sounds: list[Sound], words: str) -> None:
    with pytest.raises(LabelConfigError, match=words):
        find_control(TWO_CHOICES, sounds)


def test_labels_become_annotations_or_predictions() -> None:
    control = find_control(TWO_CHOICES, [sound("1", "c", "d")])
    part = Marking(control, "annotations", ground_truth=True).part(sound("1", "c", "d"))
    (annotation,) = part["annotations"]
    assert annotation["ground_truth"] is True
    assert read_result(annotation["result"], [control]).tags == {"many": frozenset({"c", "d"})}
    assert "score" not in annotation["result"][0]
    (prediction,) = Marking(control, "predictions").part(sound("1", "c"))["predictions"]
    assert (prediction["score"], prediction["model_version"]) == (1.0, "imported")
    assert Marking(control, "predictions").part(sound("1")) == {}


def test_uploads_refuse_what_label_studio_would() -> None:
    place = Uploads("http://127.0.0.1:1", "token", 1)
    assert place.refuses(sound("a.WAV")) is None
    assert ".aiff" in (place.refuses(sound("a.aiff")) or "")
    assert "250 MB" in (place.refuses(sound("a.wav", size=250 << 20)) or "")


def test_a_file_that_goes_away_while_importing_is_explained(tmp_path: Path) -> None:
    place = Uploads("http://127.0.0.1:1", "token", 1)
    with pytest.raises(SoundNotFoundError, match=r"gone\.wav"):
        place.addresses([Sound(tmp_path / "gone.wav", "gone.wav", "0" * 64, 1)])


def test_local_files_must_lie_in_a_subfolder_of_the_root(tmp_path: Path) -> None:
    place = LocalFiles(None, "", 1, tmp_path)
    inside = Sound(tmp_path / "a" / "b c.wav", "b c.wav", "0", 1)
    assert place.refuses(inside) is None
    assert place.addresses([inside]) == ["/data/local-files/?d=a/b%20c.wav"]
    assert "subfolders" in (place.refuses(Sound(tmp_path / "x.wav", "x.wav", "0", 1)) or "")
    assert "below" in (place.refuses(Sound(tmp_path.parent / "x.wav", "x.wav", "0", 1)) or "")
    with pytest.raises(ConfigurationError):
        LocalFiles(None, "", 1, tmp_path / "none")


class FakeClient:
    """Holds tasks, and can fail at a request."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.requests: list[int] = []
        self.made_of_each = 1.0
        self.tasks = self.projects = self

    def list(self, project: int, query: str, **_: object) -> list[Any]:
        after = int(query.split('"value": ')[1].split("}")[0])
        return [task for task in self.held if task.id > after]

    def import_tasks(self, id: int, request: list[dict[str, Any]], **_: object) -> Any:
        self.requests.append(len(request))
        for task in request:
            self.held.append(type("Task", (), {"id": len(self.held) + 1, "data": task["data"]}))
        return type("Answer", (), {"task_count": int(len(request) * self.made_of_each)})


class Nowhere:
    """A place that takes anything."""

    batch_files, batch_bytes = 2, 100

    def refuses(self, sound: Sound) -> str | None:
        return "refused" if "bad" in sound.fname else None

    def prepare(self, sounds: object) -> None: ...

    def addresses(self, sounds: list[Sound]) -> list[str]:
        return [f"/{sound.fname}" for sound in sounds]


def test_batches_keep_to_files_and_bytes_and_stop_when_asked() -> None:
    client = FakeClient()
    importer = Importer(client, "", 1, "audio", Nowhere())
    sounds = [
        sound(name, size=size) for name, size in (("a", 10), ("b", 10), ("c", 90), ("d", 90), ("e", 500))
    ]
    todo, outcome = importer.plan([*sounds, sound("a2", digest=sounds[0].sha256), sound("bad")])
    assert [s.fname for s in todo] == ["a", "b", "c", "d", "e"]
    assert outcome.same_sound == ["a2 (as a)"]
    assert [left.fname for left in outcome.left_out] == ["bad"]
    importer.run(todo, outcome, should_stop=lambda: len(client.held) >= 3)
    assert (client.requests, outcome.imported, outcome.interrupted) == ([2, 1], 3, True)
    again = Importer(client, "", 1, "audio", Nowhere())
    todo, outcome = again.plan(sounds)
    assert outcome.already_there == 3
    assert [s.fname for s in todo] == ["d", "e"]
    assert again.run(todo, outcome).imported == 2


def test_tasks_that_label_studio_lost_are_noticed() -> None:
    client = FakeClient()
    client.made_of_each = 0.5
    importer = Importer(client, "", 1, "audio", Nowhere())
    with pytest.raises(LabelStudioError, match="made 1 tasks of 2"):
        importer.run(*importer.plan([sound("a"), sound("b")]))


def test_titles_that_label_studio_refuses() -> None:
    with pytest.raises(ConfigurationError, match="3 to 50"):
        create_project(None, "", "ab", "<View/>")
