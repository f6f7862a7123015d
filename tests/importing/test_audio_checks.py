"""Audio checks before an import: facts, faults, the cache, and processes that crash."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from earmark.errors import ConfigurationError
from earmark.importing import parallel_checks
from earmark.importing.audio_checks import Checked, Checker, read_facts
from earmark.importing.models import Facts, Listed, Trust
from earmark.importing.parallel_checks import check_all
from earmark.importing.quality_rules import Rules, apply_rules, keep_of, sounds_of
from earmark.settings import Settings


def test_what_is_heard_is_what_was_written(tmp_path: Path) -> None:
    wave = np.zeros((8000, 2))
    wave[100:180] = 1.0
    wave[200, 0], wave[300] = -1.0, (-0.25, 0.25)
    soundfile.write(tmp_path / "a.wav", wave, 8000)
    facts = read_facts(tmp_path / "a.wav", "a.wav")
    assert (facts.duration, facts.sample_rate, facts.channels) == (1.0, 8000, 2)
    assert facts.size == (tmp_path / "a.wav").stat().st_size
    assert facts.peak_dbfs == pytest.approx(0, abs=0.01)
    assert facts.clipped == 80 / 8000
    soundfile.write(tmp_path / "half.wav", wave[1000:] + 0.5, 8000)
    assert read_facts(tmp_path / "half.wav", "half.wav").peak_dbfs == pytest.approx(-6.02, abs=0.01)
    # What heads hear is the mean of the channels.
    soundfile.write(tmp_path / "opposed.wav", np.stack([wave[:, 0], -wave[:, 0]], axis=1)[:90], 8000)
    assert read_facts(tmp_path / "opposed.wav", "opposed.wav").peak_dbfs == -200.0


def test_unreadable_files_are_told_apart(
    tmp_path: Path, settings: Settings, write_sound: Callable[..., Path]
) -> None:
    good = write_sound(tmp_path / "good.flac", seconds=2)
    (tmp_path / "junk.wav").write_bytes(b"junk")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.flac").write_bytes(good.read_bytes()[:60])
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    odd = os.fsdecode(b"odd-\xff.wav")
    names = ("good.flac", "junk.wav", "empty.wav", "cut.flac", "gone.wav", "loop.wav", odd)
    checker = Checker(settings)
    results = [checker.check(Listed(tmp_path / name, name)) for name in names]
    outside = checker.check(Listed(None, "../x.wav"))
    assert results[0].facts == read_facts(good, "good.flac")
    assert all(result.facts is None and result.why for result in [*results[1:], outside])
    assert "UTF-8" in results[-1].why
    assert "audio-dir" in outside.why


def test_a_file_that_is_shorter_than_its_header_is_used_and_said(
    tmp_path: Path, settings: Settings, write_sound: Callable[..., Path]
) -> None:
    path = write_sound(tmp_path / "cut.flac", seconds=2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    checked = Checker(settings).check(Listed(path, "cut.flac"))
    assert checked.facts is not None
    assert checked.facts.duration < 1.5
    verdict = apply_rules([checked], Rules())[0]
    assert verdict.accepted
    assert [kind for kind, _ in verdict.faults] == ["header"]
    assert "2.0 s" in verdict.why


def test_channels_that_cancel_out_are_not_silent(tmp_path: Path) -> None:
    left = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), 8000)
    assert read_facts(tmp_path / "a.wav", "a.wav").peak_dbfs > -10


def test_unchanged_files_are_not_heard_again(
    tmp_path: Path, settings: Settings, write_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Listed(write_sound(tmp_path / "a.wav"), "a.wav")
    first = Checker(settings).check(item)
    monkeypatch.setattr("earmark.importing.audio_checks.read_facts", None)
    assert Checker(settings).check(item) == first
    monkeypatch.undo()
    write_sound(tmp_path / "a.wav", seed=1, seconds=0.5)
    assert Checker(settings).check(item).facts == read_facts(tmp_path / "a.wav", "a.wav") != first.facts


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the URL at which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_urls_are_fetched_and_served_files_confirmed(
    tmp_path: Path,
    settings: Settings,
    served: tuple[Path, str],
    write_sound: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel_checks, "REMOTE_PROCESSES", 2)  # each takes half a second to start
    folder, url = served
    there = write_sound(folder / "a.wav")
    other = write_sound(tmp_path / "other.wav", seconds=1)
    items = [
        Listed(None, "a.wav", origin=f"{url}/a.wav", address=f"{url}/a.wav"),
        Listed(None, "gone.wav", origin=f"{url}/gone.wav"),
        Listed(there, "a.wav", address=f"{url}/a.wav"),
        Listed(other, "a.wav", address=f"{url}/a.wav"),
        Listed(other, "b.wav", address=f"{url}/b.wav"),
    ]
    results = check_all(items, settings)
    assert results is not None
    assert [result.facts and result.facts.sha256 for result in results] == [
        read_facts(there, "a").sha256, None, read_facts(there, "a").sha256, None, None,
    ]  # fmt: skip
    assert "bytes" in results[3].why
    assert "404" in results[4].why


@pytest.mark.slow
def test_many_files_are_checked_in_processes_in_order(
    tmp_path: Path, settings: Settings, write_sound: Callable[..., Path]
) -> None:
    items = [Listed(write_sound(tmp_path / f"{n}.wav", n), f"{n}.wav", fields={"n": n}) for n in range(40)]
    seen: list[int] = []
    results = check_all(items, settings, seen.append)
    assert results is not None
    assert [result.item for result in results] == items
    assert [result.facts for result in results] == [read_facts(tmp_path / f"{n}.wav", "") for n in range(40)]
    assert seen == sorted(seen)
    assert seen[-1] == 40
    assert check_all(items, settings, should_stop=lambda: True) is None


class Deadly:
    """Stand-in for a file that crashes the decoder: the process that unpickles it dies."""

    def __reduce__(self) -> Any:
        return os.abort, ()


@pytest.mark.slow
def test_a_file_that_kills_the_decoder_is_left_out_alone(
    tmp_path: Path, settings: Settings, write_sound: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_checks, "CHUNK_FILES", 1)
    monkeypatch.setattr(parallel_checks, "IN_PROCESS_FILES", 0)
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda _: {0}
    )  # fewer processes die with it, and are replaced
    items = [Listed(write_sound(tmp_path / f"{n}.wav", n), f"{n}.wav") for n in range(8)]
    deadly: Any = Deadly()
    items[3] = Listed(deadly, "3.wav")
    results = check_all(items, settings)
    assert results is not None
    assert [result.item for result in results] == items
    assert [result.item.fname for result in results if result.facts is None] == ["3.wav"]
    assert "crash" in results[3].why


def checked(name: str, digest: str = "", **measured: float) -> Checked:
    facts = {"duration": 1.0, "peak_dbfs": -10.0, "clipped": 0.0} | measured
    return Checked(Listed(Path(name), name), Facts(digest or name, 1, sample_rate=8000, channels=1, **facts))  # type: ignore[arg-type]


def test_what_stays_out_and_what_is_accepted() -> None:
    files = [
        checked("good"),
        checked("silent", peak_dbfs=-70.0),
        checked("short", duration=0.05),
        checked("both", duration=0.05, peak_dbfs=-200.0),
        checked("loud", clipped=0.5),
        checked("again", "good"),
        Checked(Listed(None, "gone"), why="gone"),
    ]
    verdicts = apply_rules(files, Rules())
    assert {v.item.fname: [kind for kind, _ in v.faults] for v in verdicts if v.faults} == {
        "silent": ["silent"],
        "short": ["short"],
        "both": ["short", "silent"],
        "loud": ["clipped"],
        "again": ["duplicate"],
        "gone": ["unreadable"],
    }
    assert [v.item.fname for v in verdicts if v.accepted] == ["good", "loud"]
    lenient = apply_rules(files, Rules(keep=keep_of("silent, duplicate")))
    assert [v.item.fname for v in lenient if v.accepted] == ["good", "silent", "loud", "again"]
    verdicts = apply_rules(files, Rules(min_seconds=0, silent_below=-300))
    assert [s.fname for s in sounds_of(verdicts, Rules())] == [
        "good", "silent", "short", "both", "loud",
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match="unreadable"):
        keep_of("silent,unreadable")


def test_of_the_same_sound_the_most_trusted_labels_win() -> None:
    def with_trust(name: str, trust: Trust | None, **facts: float) -> Checked:
        measured = checked(name, "same", **facts)
        return Checked(Listed(Path(name), name, trust=trust), measured.facts)

    verdicts = apply_rules(
        [with_trust("noisy", "noisy"), with_trust("plain", None), with_trust("curated", "curated")], Rules()
    )
    assert [v.item.fname for v in verdicts if v.accepted] == ["curated"]
    assert "same sound as curated" in verdicts[0].why
