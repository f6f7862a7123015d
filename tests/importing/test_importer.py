"""Import without a Label Studio: batches, resuming, destinations and the import lock."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from earmark.errors import ConfigurationError, LabelStudioError, SoundNotFoundError
from earmark.export.records import Stretch
from earmark.importing import import_lock
from earmark.importing import importer as importing
from earmark.importing.destinations import Addresses, Destination, LocalFiles, Uploads
from earmark.importing.import_lock import ImportLock
from earmark.importing.importer import Importer
from earmark.importing.models import Sound
from earmark.importing.splitting import stretches
from earmark.labelstudio.projects import create_project

MakeSound = Callable[..., Sound]


def test_uploads_refuse_what_label_studio_would(sound: MakeSound) -> None:
    uploads = Uploads("http://127.0.0.1:1", "token", 1)
    assert uploads.refuses(sound("a.WAV")) is None
    assert ".aiff" in (uploads.refuses(sound("a.aiff")) or "")
    assert "250 MB" in (uploads.refuses(sound("a.wav", size=250 << 20)) or "")
    assert uploads.refuses(sound("a.aiff", stretch=Stretch("a.aiff", 0, 1))) is None


def test_a_file_that_goes_away_while_importing_is_explained(tmp_path: Path, sound: MakeSound) -> None:
    uploads = Uploads("http://127.0.0.1:1", "token", 1)
    with pytest.raises(SoundNotFoundError, match=r"gone\.wav"):
        uploads.addresses([dataclasses.replace(sound("gone.wav"), path=tmp_path / "gone.wav")])


def test_local_files_must_lie_in_a_subfolder_of_the_root(tmp_path: Path, sound: MakeSound) -> None:
    def at(path: Path) -> Sound:
        return dataclasses.replace(sound("x.wav"), path=path)

    local_files = LocalFiles(None, "", 1, tmp_path)
    inside = at(tmp_path / "a" / "b c.wav")
    assert local_files.refuses(inside) is None
    assert local_files.addresses([inside]) == ["/data/local-files/?d=a/b%20c.wav"]
    assert "subfolders" in (local_files.refuses(at(tmp_path / "x.wav")) or "")
    assert "below" in (local_files.refuses(at(tmp_path.parent / "x.wav")) or "")
    with pytest.raises(ConfigurationError):
        LocalFiles(None, "", 1, tmp_path / "none")


def test_sounds_with_an_address_stay_where_they_are(sound: MakeSound) -> None:
    there = sound("a.wav", address="s3://calls/a.wav")
    assert Addresses().refuses(there) is None
    assert Addresses().addresses([there]) == ["s3://calls/a.wav"]
    assert "base-url" in (Addresses().refuses(sound("a.wav")) or "")


class FakeClient:
    """Stand-in for the SDK client: holds tasks in memory, and can fail a request."""

    def __init__(self) -> None:
        self.stored: list[Any] = []
        self.requests: list[int] = []
        self.made_of_each = 1.0
        self.unanswered = self.made = 0
        self.tasks = self.projects = self

    def list(self, project: int, query: str, page_size: int, **_: object) -> Any:
        bounds = [item["value"] for item in json.loads(query)["filters"]["items"]]
        after, last = bounds[0], bounds[1] if len(bounds) > 1 else float("inf")
        tasks = [task for task in self.stored if after < task.id <= last]
        return SimpleNamespace(items=tasks[:page_size], response=SimpleNamespace(total=len(tasks)))

    def delete(self, id: int) -> None:
        self.stored = [task for task in self.stored if task.id != id]

    def import_tasks(self, id: int, request: Sequence[dict[str, Any]], **_: object) -> Any:
        self.requests.append(len(request))
        for task in request:
            self.made += 1
            labels = {kind: task.get(kind, []) for kind in ("annotations", "predictions")}
            created = SimpleNamespace(
                id=self.made, data=task["data"], model_dump=lambda labels=labels: labels
            )
            self.stored.append(created)
        if self.unanswered:
            self.unanswered -= 1
            raise httpx.ReadError("the answer was lost")
        return type("Answer", (), {"task_count": int(len(request) * self.made_of_each)})


class Nowhere(Destination):
    """Destination that accepts any sound."""

    batch_files, batch_bytes = 2, 100

    def refuses(self, sound: Sound) -> str | None:
        return "refused" if "bad" in sound.fname else None

    def prepare(self, sounds: Sequence[Sound]) -> None: ...

    def addresses(self, sounds: Sequence[Sound]) -> list[str]:
        return [f"/{sound.fname}" for sound in sounds]


def test_batches_keep_to_files_and_bytes_and_stop_when_asked(tmp_path: Path, sound: MakeSound) -> None:
    client = FakeClient()
    importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    sounds = [
        sound(name, size=size) for name, size in (("a", 10), ("b", 10), ("c", 90), ("d", 90), ("e", 500))
    ]
    todo, outcome = importer.plan([*sounds, sound("bad")])
    assert [s.fname for s in todo] == ["a", "b", "c", "d", "e"]
    assert outcome.reasons() == {"bad": "refused"}
    importer.run(todo, outcome, should_stop=lambda: len(client.stored) >= 3)
    assert (client.requests, outcome.imported, outcome.interrupted) == ([2, 1], 3, True)
    assert outcome.states == {
        **dict.fromkeys("abc", "imported"), **dict.fromkeys("de", "to import"), "bad": "left out",
    }  # fmt: skip
    again = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    todo, outcome = again.plan(sounds)
    assert outcome.already_there == 3
    assert [s.fname for s in todo] == ["d", "e"]
    assert again.run(todo, outcome).imported == 2


def test_a_stretch_that_is_refused_is_told_by_its_recording(tmp_path: Path, sound: MakeSound) -> None:
    parts = [sound(f"bad#{n}-{n + 1}", stretch=Stretch("bad", n, n + 1), listed_as="bad") for n in range(3)]
    _, outcome = Importer(FakeClient(), "", 1, "audio", Nowhere(), tmp_path).plan(parts)
    assert (outcome.states, outcome.reasons()) == ({"bad": "left out"}, {"bad": "refused"})


def test_noisy_sounds_come_first_and_curated_ones_last(tmp_path: Path, sound: MakeSound) -> None:
    client = FakeClient()
    importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    trusts = {"a": "curated", "b": None, "c": "noisy", "d": "curated"}
    todo, outcome = importer.plan([sound(name, trust=trust) for name, trust in trusts.items()])
    importer.run(todo, outcome)
    assert [(task.data["fname"], task.data.get("label_trust")) for task in client.stored] == [
        ("c", "noisy"), ("b", None), ("a", "curated"), ("d", "curated"),
    ]  # fmt: skip


def test_copies_are_kept_apart_by_their_names(tmp_path: Path, sound: MakeSound) -> None:
    client, sounds = FakeClient(), [sound("a", digest="same"), sound("b", digest="same")]
    importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path, copies=True)
    assert importer.run(*importer.plan(sounds)).imported == 2
    again = Importer(client, "", 1, "audio", Nowhere(), tmp_path, copies=True)
    assert again.plan(sounds)[1].already_there == 2


def test_a_recording_is_not_brought_in_again_in_other_stretches(tmp_path: Path, sound: MakeSound) -> None:
    client, whole = FakeClient(), sound("long.wav")  # 4 s
    assert whole.facts.duration == 4.0

    def plan(seconds: float, copies: bool = False) -> tuple[list[Sound], importing.Outcome]:
        importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path, copies=copies)
        return importer.plan(stretches(whole, seconds, 0.1))

    todo, outcome = plan(1.5)
    Importer(client, "", 1, "audio", Nowhere(), tmp_path)._create_tasks(
        [{"data": {**part.data(), "audio": "/a"}} for part in todo[1:]], todo[1:]
    )
    todo, outcome = plan(1.5)
    assert ([part.stretch.start for part in todo if part.stretch], outcome.already_there) == ([0.0], 2)
    for seconds in (1.0, 3.0, 10.0):  # the first stretch of 1 s is not there yet
        todo, outcome = plan(seconds)
        assert (todo, outcome.states) == ([], {"long.wav": "left out"})
        assert "in stretches of 1.5 s already: give --split 1.5" in outcome.reasons()["long.wav"]
    assert len(plan(10.0, copies=True)[0]) == 1
    importer = Importer(FakeClient(), "", 1, "audio", Nowhere(), tmp_path)
    importer.run(*importer.plan([whole]))
    todo, outcome = importer.plan(stretches(whole, 1.5, 0.1))
    assert (todo, outcome.states) == ([], {"long.wav": "left out"})
    assert "whole recording already: leave --split out" in outcome.reasons()["long.wav"]


def test_tasks_that_label_studio_lost_are_noticed(tmp_path: Path, sound: MakeSound) -> None:
    client = FakeClient()
    client.made_of_each = 0.5
    importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    with pytest.raises(LabelStudioError, match="made 1 tasks of 2"):
        importer.run(*importer.plan([sound("a"), sound("b")]))


def test_a_batch_whose_answer_was_lost_is_not_made_twice(
    tmp_path: Path, sound: MakeSound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "RETRY_SECONDS", (0.0,))
    client = FakeClient()
    client.unanswered = 1
    importer = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    outcome = importer.run(*importer.plan([sound("a"), sound("b"), sound("c")]))
    assert [task.data["fname"] for task in client.stored] == ["a", "b", "c"]
    assert outcome.imported + outcome.already_there == 3
    # Label Studio may carry the same request out once more, half an hour later.
    client.import_tasks(1, [{"data": task.data} for task in client.stored[:2]])
    later = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    later.run(*later.plan([sound("d")]))
    assert sorted(task.data["fname"] for task in client.stored) == ["a", "b", "c", "d"]


def test_a_request_that_was_cut_off_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "POLL_SECONDS", 0.0)
    first = ImportLock(tmp_path, "project 1")
    with pytest.raises(KeyboardInterrupt), first.acquire(lambda identity: True), first.sending("a"):
        raise KeyboardInterrupt  # stands for a kill: the answer was not received
    looks: list[str] = []

    def arrived(identity: str) -> bool:
        looks.append(identity)
        return len(looks) == 3

    with ImportLock(tmp_path, "project 1").acquire(arrived):
        assert looks == ["a", "a", "a"]
    with ImportLock(tmp_path, "project 1").acquire(arrived):
        assert len(looks) == 3, "once it is known, it is forgotten"
    # One that never arrived is given up after a while.
    with pytest.raises(KeyboardInterrupt), first.acquire(lambda identity: True), first.sending("b"):
        raise KeyboardInterrupt
    (note,) = tmp_path.glob("*.sent")
    entries = json.loads(note.read_text())
    assert [entry["identity"] for entry in entries][-1] == "b"
    entries[-1]["at"] = time.time() - import_lock.SETTLE_SECONDS
    note.write_text(json.dumps(entries))
    looks.clear()

    def never(identity: str) -> bool:
        looks.append(identity)
        assert len(looks) == 1, "it is long overdue"
        return False

    with ImportLock(tmp_path, "project 1").acquire(never):
        assert looks == ["b"]


def test_two_imports_take_turns(tmp_path: Path) -> None:
    inside = threading.Event()
    order: list[str] = []

    def second() -> None:
        with ImportLock(tmp_path, "project 1").acquire(lambda identity: True):
            order.append("second")

    other = threading.Thread(target=second)
    with ImportLock(tmp_path, "project 1").acquire(lambda identity: True):
        other.start()
        with ImportLock(tmp_path, "project 2").acquire(lambda identity: True):
            inside.set()
        order.append("first")
    other.join()
    assert inside.is_set()
    assert order == ["first", "second"]


def test_titles_that_label_studio_refuses() -> None:
    with pytest.raises(ConfigurationError, match="3 to 50"):
        create_project(None, "", "ab", "<View/>")


def test_what_another_import_brought_in_meanwhile_is_not_made_again(tmp_path: Path, sound: MakeSound) -> None:
    client, sounds = FakeClient(), [sound(name) for name in "abcdef"]
    slow = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    quick = Importer(client, "", 1, "audio", Nowhere(), tmp_path)
    todo, outcome = slow.plan(sounds)

    def run_the_other_import(done: int) -> None:
        if done == 2:
            quick.run(*quick.plan(sounds[3:]))

    slow.run(todo, outcome, on_progress=run_the_other_import)
    assert sorted(task.data["fname"] for task in client.stored) == list("abcdef")
    assert (outcome.imported, outcome.already_there) == (3, 3)
