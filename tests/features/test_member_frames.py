"""Frames of combined encoders: stored for each member, and the same as when it is used alone."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.audio.source import SoundSource
from earmark.concurrency.deadline import NO_DEADLINE, Deadline
from earmark.encoders.base import Encoder
from earmark.encoders.combined import CombinedEncoder
from earmark.errors import OutOfTimeError, SoundUnreadableError
from earmark.features.band_levels import BandLevelMeter
from earmark.features.extractor import FrameExtractor, FrameStore
from earmark.settings import Settings

RATE = 22_050
SECONDS = 3.3


class Power:
    """The mean power of each frame. Counts how often it encodes."""

    frame_dim = embedding_dim = 1

    def __init__(self, name: str, sample_rate: int, frame_rate: float) -> None:
        self.name, self.identity = name, f"{name}-1"
        self.sample_rate, self.frame_rate = sample_rate, frame_rate
        self.encoded = 0

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        self.encoded += 1
        wave = np.concatenate(list(blocks))
        size = round(self.sample_rate / self.frame_rate)
        wave = np.pad(wave, (0, -len(wave) % size)).reshape(-1, size)
        power: NDArray[np.float16] = np.square(wave).mean(axis=1, keepdims=True).astype(np.float16)
        return power

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        pooled: NDArray[np.float32] = frames.mean(axis=-2, dtype=np.float32)
        return pooled


@pytest.fixture
def members() -> tuple[Power, Power, Power]:
    return Power("slow", 16_000, 3.125), Power("fast", 32_000, 12.5), Power("other", RATE, 10.0)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    swell = np.linspace(0, 0.5, round(RATE * SECONDS)) * np.random.default_rng(0).standard_normal(
        round(RATE * SECONDS)
    )
    soundfile.write(tmp_path / "clip.wav", swell, RATE)
    return str(tmp_path / "clip.wav")


@pytest.fixture
def source(tmp_path: Path) -> SoundSource:
    return SoundSource(Settings(_env_file=None, data_dir=tmp_path / "data"))


def extractor_of(source: SoundSource, folder: Path, encoders: Sequence[Power]) -> FrameExtractor:
    combination = CombinedEncoder(*encoders) if len(encoders) > 1 else None
    encoder: Encoder = combination or encoders[0]
    return FrameExtractor(
        source, FrameStore(folder), encoder.identity, lambda: encoder, combination=combination
    )


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_no_member_encodes_a_sound_twice(
    source: SoundSource,
    members: tuple[Power, Power, Power],
    clip: str,
    tmp_path: Path,
    order: tuple[int, ...],
) -> None:
    slow, fast, other = members
    uses = ([fast], [slow, fast], [slow, other], [slow, fast, other])
    for use in (*order, *order):
        extractor_of(source, tmp_path / "frames", uses[use]).extract_address(clip, None)
    assert [member.encoded for member in members] == [1, 1, 1]
    assert {path.name for path in (tmp_path / "frames").iterdir()} == {
        "slow-1",
        "fast-1",
        "other-1",
        BandLevelMeter.identity,
    }


def test_a_combinations_frames_are_those_of_its_members(
    source: SoundSource, members: tuple[Power, Power, Power], clip: str, tmp_path: Path
) -> None:
    alone = [
        extractor_of(source, tmp_path / "alone", [member]).extract_address(clip, None) for member in members
    ]
    together = extractor_of(source, tmp_path / "together", members)
    fresh, stored = together.extract_address(clip, None), together.extract_address(clip, None)
    assert fresh.duration == stored.duration == alone[1].duration == pytest.approx(SECONDS, abs=1e-4)
    np.testing.assert_array_equal(fresh.frames, stored.frames)
    expected = CombinedEncoder(*members).assemble([sound.frames for sound in alone])
    np.testing.assert_array_equal(fresh.frames, expected)
    stored_alone = {path.name: path.read_bytes() for path in (tmp_path / "alone").glob("*/*/*.frames")}
    for path in (tmp_path / "together").glob("*/*/*.frames"):
        assert (
            path.read_bytes() == (tmp_path / "alone" / path.relative_to(tmp_path / "together")).read_bytes()
        )
    assert len(stored_alone) == 1, "one digest"


def test_one_damaged_file_is_encoded_anew_alone(
    source: SoundSource, members: tuple[Power, Power, Power], clip: str, tmp_path: Path
) -> None:
    extractor = extractor_of(source, tmp_path / "frames", members)
    first = extractor.extract_address(clip, None)
    (path,) = (tmp_path / "frames" / "fast-1").rglob("*.frames")
    path.write_bytes(path.read_bytes()[:-1])
    assert extractor.holds(extractor.locate(clip, None, NO_DEADLINE))
    np.testing.assert_array_equal(extractor.extract_address(clip, None).frames, first.frames)
    assert [member.encoded for member in members] == [1, 2, 1]
    path.unlink()
    assert not extractor.holds(extractor.locate(clip, None, NO_DEADLINE))


def test_threads_encode_once_with_each_member(
    source: SoundSource, members: tuple[Power, Power, Power], clip: str, tmp_path: Path
) -> None:
    extractor = extractor_of(source, tmp_path / "frames", members)
    gate = threading.Barrier(4)

    def ask() -> None:
        gate.wait()
        extractor.extract_address(clip, None)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [member.encoded for member in members] == [1, 1, 1]


def test_errors_of_the_sound_and_the_deadline_pass(
    source: SoundSource, members: tuple[Power, Power, Power], clip: str, tmp_path: Path
) -> None:
    extractor = extractor_of(source, tmp_path / "frames", members)
    located = extractor.locate(clip, None, NO_DEADLINE)
    with pytest.raises(OutOfTimeError):
        extractor.extract(located, clip, Deadline(0.0))
    (tmp_path / "broken.wav").write_bytes(b"text" * 100)
    with pytest.raises(SoundUnreadableError, match="broken"):
        extractor.extract_address(str(tmp_path / "broken.wav"), None)
    assert not list((tmp_path / "frames").rglob("*.frames"))
