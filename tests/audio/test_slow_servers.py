"""Servers that send a byte now and then: a transfer below the minimum rate ends in each of its phases."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.audio.source import SoundSource
from earmark.audio.transfer_watch import TransferWatch
from earmark.errors import SoundUnreachableError
from tests.audio.sound_server import Server, Trickle, assert_is_sound, settings_in, sound

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["headers", "chunks", "body", "endless"])
def test_a_byte_now_and_then_is_too_slow(
    server: Server, trickle: Trickle, tmp_path: Path, place: str
) -> None:
    server.answers["/a.wav"] = getattr(trickle, place)
    source = SoundSource(settings_in(tmp_path, download_deadline_seconds=0.5))
    with pytest.raises(SoundUnreachableError, match="too slowly") as caught:
        source.locate(f"{server.url}/a.wav", None)
    assert caught.value.reason == "too_slow"
    assert len(server.requests) <= 1, "another try would take as long again"
    assert not list((tmp_path / "data/sounds/incoming").glob("*"))
    assert not list((tmp_path / "data/sounds").rglob("*.wav"))
    trickle.enough.set()
    server.answers["/a.wav"] = sound()
    assert_is_sound(source.locate(f"{server.url}/a.wav", None))


def test_the_rate_is_looked_at_in_every_stretch() -> None:
    with TransferWatch(window_seconds=3600.0, least_bytes_per_second=1.0) as watch:
        for received in (3600, 7200, 100_000):
            watch.received = received
            watch._check_rate()
            assert not watch.too_slow
        watch.received += 3599
        watch._check_rate()
        assert watch.too_slow, "what came fast at first does not make up for it"


def test_a_watch_that_ended_cuts_nothing() -> None:
    with TransferWatch(window_seconds=3600.0, least_bytes_per_second=1.0) as watch:
        pass
    watch._check_rate()
    assert not watch.too_slow
