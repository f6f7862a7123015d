"""Download cache: each sound is downloaded once by concurrent callers, and evicted when space is short."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from earmark.audio.sound_cache import SoundCache
from earmark.audio.source import LocatedSound, SoundSource
from tests.audio.sound_server import SOUND, Server, assert_is_sound, settings_in, sound

DIGEST = hashlib.sha256(SOUND).hexdigest()

pytestmark = pytest.mark.usefixtures("hasty")


def test_threads_that_ask_at_once_fetch_once(server: Server, source: SoundSource) -> None:
    gate = threading.Barrier(8)
    located: list[LocatedSound] = []
    server.answers["/a.wav"] = sound()

    def ask() -> None:
        gate.wait()
        located.append(source.locate(f"{server.url}/a.wav", None))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(located) == 8
    assert len(set(located)) == 1
    assert_is_sound(located[0])
    assert len(server.requests) == 1


def _ask(folder: str, url: str) -> tuple[str, str]:
    located = SoundSource(settings_in(Path(folder))).locate(url, None)
    return located.digest, hashlib.sha256(located.path.read_bytes()).hexdigest()


def test_processes_that_ask_at_once_get_a_good_file(server: Server, tmp_path: Path) -> None:
    server.answers["/a.wav"] = sound()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        digests = pool.starmap(_ask, [(str(tmp_path), f"{server.url}/a.wav")] * 6, chunksize=1)
    assert digests == [(DIGEST, DIGEST)] * 6
    assert len(server.requests) == 1


def test_the_least_recently_used_sounds_go(server: Server, tmp_path: Path) -> None:
    source = SoundSource(settings_in(tmp_path, sound_cache_megabytes=1))
    contents = {name: name.encode() * 300_000 for name in "abcd"}
    for name, content in contents.items():
        server.answers[f"/{name}.wav"] = sound(content)
    paths = {name: source.locate(f"{server.url}/{name}.wav", None).path for name in "abc"}
    long_ago = time.time() - 3600
    for age, name in enumerate("cba"):
        os.utime(paths[name], (long_ago - age, long_ago - age))
    source.locate(f"{server.url}/a.wav", None)  # used just now
    paths["d"] = source.locate(f"{server.url}/d.wav", None).path
    assert {name for name in "abcd" if paths[name].exists()} == {"a", "c", "d"}
    assert_is_sound(source.locate(f"{server.url}/b.wav", None), contents["b"])
    assert Counter(path for path, _ in server.requests)["/b.wav"] == 2


def test_a_full_cache_is_not_scanned_for_each_sound(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[SoundCache] = []
    evict = SoundCache._evict

    def counted(cache: SoundCache) -> None:
        scans.append(cache)
        evict(cache)

    monkeypatch.setattr(SoundCache, "_evict", counted)
    source = SoundSource(settings_in(tmp_path, sound_cache_megabytes=1))
    for number in range(60):
        server.answers[f"/{number}.wav"] = sound(bytes([number]) * 3000)
        source.locate(f"{server.url}/{number}.wav", None)
    assert len(scans) <= 60 * 3000 // 10_000


def test_what_a_killed_process_left_is_removed(server: Server, source: SoundSource, tmp_path: Path) -> None:
    incoming = tmp_path / "data/sounds/incoming"
    incoming.mkdir(parents=True)
    for name, age in (("old", 7200), ("new", 10)):
        (incoming / name).touch()
        os.utime(incoming / name, (time.time() - age,) * 2)
    server.answers["/a.wav"] = sound()
    source.locate(f"{server.url}/a.wav", None)
    assert [path.name for path in incoming.iterdir()] == ["new"]


def test_a_damaged_note_is_only_forgotten(server: Server, source: SoundSource, tmp_path: Path) -> None:
    server.answers["/a.wav"] = sound()
    source.locate(f"{server.url}/a.wav", None)
    for note in (tmp_path / "data/sounds/addresses").rglob("*.json"):
        note.write_bytes(b'{"digest": "..')
    assert_is_sound(source.locate(f"{server.url}/a.wav", None))
    assert len(server.requests) == 2
