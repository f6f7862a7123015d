"""Hear once: what is stored, for whom, and what happens when it is damaged."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.audio.source import SoundSource
from earmark.errors import SoundUnreadableError, WeightsError
from earmark.features import priority_lock as priority_lock
from earmark.features.band_levels import BandLevelMeter
from earmark.features.extractor import EncodedSound, FrameExtractor, FrameStore
from earmark.features.priority_lock import PriorityLock
from earmark.settings import Settings
from tests.examples import with_examples

DIGEST = "ab" * 32


class CountingEncoder:
    """One frame a second: its mean, and its samples. Counts how often it is asked."""

    name = "counting"
    sample_rate = 1000
    frame_rate = 1.0
    frame_dim = 2
    embedding_dim = 2

    def __init__(self, identity: str = "counting-1") -> None:
        self.identity = identity
        self.heard = 0

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        self.heard += 1
        wave = np.concatenate(list(blocks))
        seconds = np.array_split(wave, max(1, round(wave.size / self.sample_rate)))
        return np.array([[s.mean(), s.size] for s in seconds], np.float16)

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        pooled: NDArray[np.float32] = frames.mean(axis=-2, dtype=np.float32)
        return pooled


def frames(rows: int = 5) -> NDArray[np.float16]:
    return np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float16)


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "frames")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.wav", np.full(3500, 0.25), 1000)
    return tmp_path / "clip.wav"


@pytest.fixture
def source(tmp_path: Path) -> SoundSource:
    return SoundSource(Settings(_env_file=None, data_dir=tmp_path / "data"))


def test_what_is_saved_is_loaded(store: FrameStore, tmp_path: Path) -> None:
    sound = EncodedSound(DIGEST, 1.7, frames())
    assert store.load(DIGEST, "cnn14-0") is None
    store.save(sound, "cnn14-0")
    loaded = FrameStore(tmp_path / "frames").load(DIGEST, "cnn14-0")
    assert loaded is not None
    assert (loaded.digest, loaded.duration, loaded.frames.dtype) == (DIGEST, 1.7, np.dtype(np.float16))
    np.testing.assert_array_equal(loaded.frames, sound.frames)
    files = [path for path in (tmp_path / "frames").rglob("*") if path.is_file()]
    assert [path.parent for path in files] == [tmp_path / "frames/cnn14-0/ab"]


def test_identities_never_mix(store: FrameStore, tmp_path: Path) -> None:
    store.save(EncodedSound(DIGEST, 1.0, frames(3)), "cnn14-0")
    assert store.load(DIGEST, "logmel-0") is None
    store.save(EncodedSound(DIGEST, 1.0, frames(4)), "logmel-0")
    (mine,) = (tmp_path / "frames/cnn14-0").rglob("*.frames")
    (other,) = (tmp_path / "frames/logmel-0").rglob("*.frames")
    other.write_bytes(mine.read_bytes())  # as a careless copy would
    assert store.load(DIGEST, "logmel-0") is None
    other.rename(other.with_name(f"{'ab' + 'c' * 62}.frames"))
    assert store.load("ab" + "c" * 62, "logmel-0") is None


@given(data=st.data())
@with_examples(120)
def test_a_damaged_file_is_absent(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed: the same frames, or none; and then replaced."""
    folder = tmp_path_factory.mktemp("frames")
    store, sound = FrameStore(folder), EncodedSound(DIGEST, 2.0, frames(40))
    store.save(sound, "e-1")
    (path,) = folder.rglob("*.frames")
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans(), label="cut"):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    loaded = store.load(DIGEST, "e-1")
    if loaded is not None:
        np.testing.assert_array_equal(loaded.frames, sound.frames)
        assert loaded.duration == 2.0
    store.save(sound, "e-1")
    assert store.load(DIGEST, "e-1") is not None
    assert [p for p in folder.rglob("*") if p.is_file()] == [path]


@pytest.mark.parametrize("digest", ["", "ab", "../" + "a" * 61, "AB" * 32, "ab" * 32 + "\n"])
def test_only_digests_name_files(store: FrameStore, digest: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        store.load(digest, "cnn14-0")


@pytest.mark.parametrize("identity", ["", "..", ".hidden", "a/b", "a\n", "a b"])
def test_only_safe_identities_name_folders(store: FrameStore, identity: str) -> None:
    with pytest.raises(ValueError, match="folder name"):
        store.save(EncodedSound(DIGEST, 1.0, frames()), identity)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 2), np.float32), np.zeros(3, np.float16), np.zeros((0, 2), np.float16)]
)
def test_only_frames_are_stored(store: FrameStore, wrong: NDArray[np.float16]) -> None:
    with pytest.raises(ValueError, match="float16"):
        store.save(EncodedSound(DIGEST, 1.0, wrong), "cnn14-0")
    assert store.load(DIGEST, "cnn14-0") is None


def test_a_sound_is_heard_once(source: SoundSource, store: FrameStore, clip: Path) -> None:
    encoder = CountingEncoder()
    sound = FrameExtractor(source, store, "counting-1", lambda: encoder).extract_address(str(clip), None)
    assert sound.duration == 3.5
    assert sound.frames[:, 0].tolist() == pytest.approx([0.25] * len(sound.frames), abs=1e-3)

    def no_model() -> CountingEncoder:
        pytest.fail("a stored sound needs no model")

    again = FrameExtractor(source, store, "counting-1", no_model).extract_address(f"file://{clip}", None)
    np.testing.assert_array_equal(again.frames, sound.frames)
    assert (again.digest, again.duration) == (sound.digest, sound.duration)
    assert encoder.heard == 1


def test_the_same_content_elsewhere_is_known(
    source: SoundSource, store: FrameStore, clip: Path, tmp_path: Path
) -> None:
    encoder = CountingEncoder()
    extractor = FrameExtractor(source, store, "counting-1", lambda: encoder)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clip.read_bytes())
    assert (
        extractor.extract_address(str(clip), None).digest == extractor.extract_address(str(copy), None).digest
    )
    assert encoder.heard == 1


def test_a_damaged_store_is_healed(
    source: SoundSource, store: FrameStore, clip: Path, tmp_path: Path
) -> None:
    encoder = CountingEncoder()
    extractor = FrameExtractor(source, store, "counting-1", lambda: encoder)
    first = extractor.extract_address(str(clip), None)
    (path,) = (tmp_path / "frames" / "counting-1").rglob("*.frames")
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(extractor.extract_address(str(clip), None).frames, first.frames)
    extractor.extract_address(str(clip), None)
    assert encoder.heard == 2


def test_levels_of_frames_that_an_earlier_release_stored_need_no_encoder(
    source: SoundSource, store: FrameStore, clip: Path, tmp_path: Path
) -> None:
    encoder = CountingEncoder()
    first = FrameExtractor(source, store, "counting-1", lambda: encoder).extract_address(str(clip), None)
    assert first.levels is not None
    shutil.rmtree(tmp_path / "frames" / BandLevelMeter.identity)

    def no_encoder() -> CountingEncoder:
        pytest.fail("the frames are stored")

    again = FrameExtractor(source, store, "counting-1", no_encoder).extract_address(str(clip), None)
    np.testing.assert_array_equal(again.levels, first.levels)
    np.testing.assert_array_equal(again.frames, first.frames)


def test_threads_encode_once(source: SoundSource, store: FrameStore, clip: Path) -> None:
    encoder = CountingEncoder()
    extractor = FrameExtractor(source, store, "counting-1", lambda: encoder)
    gate = threading.Barrier(8)
    encoded: list[EncodedSound] = []

    def ask() -> None:
        gate.wait()
        encoded.append(extractor.extract_address(str(clip), None))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(encoded) == 8
    assert encoder.heard == 1


def test_frames_never_go_under_another_name(
    source: SoundSource, store: FrameStore, clip: Path, tmp_path: Path
) -> None:
    """The encoder turned out to be another one than the cheap look had said."""
    extractor = FrameExtractor(source, store, "counting-1", lambda: CountingEncoder("counting-2"))
    with pytest.raises(WeightsError, match="counting-2"):
        extractor.extract_address(str(clip), None)
    assert not list(tmp_path.rglob("*.frames"))


def test_errors_name_the_sound_as_people_know_it(
    source: SoundSource, store: FrameStore, tmp_path: Path
) -> None:
    (tmp_path / "not sound.wav").write_bytes(b"text" * 100)
    extractor = FrameExtractor(source, store, "counting-1", CountingEncoder)
    with pytest.raises(SoundUnreadableError, match=r"^not sound\.wav "):
        extractor.extract_address(f"file://{tmp_path}/not%20sound.wav", None)
    assert not list(tmp_path.rglob("*.frames"))


@pytest.mark.slow
def test_encoding_in_the_background_waits_for_that_in_the_foreground(tmp_path: Path) -> None:
    first = PriorityLock(tmp_path / "encoding-priority.lock", background=False)
    behind = PriorityLock(tmp_path / "encoding-priority.lock", background=True)
    assert behind.yield_priority() < priority_lock.LONGEST_WAIT_SECONDS
    with first.priority():
        assert behind.yield_priority() >= priority_lock.LONGEST_WAIT_SECONDS, (
            "and then goes on, in small pieces"
        )
        with first.priority():
            assert first.yield_priority() == 0.0
        waiting = threading.Event()

        def yield_priority() -> None:
            waiting.set()
            behind.yield_priority()

        thread = threading.Thread(target=yield_priority)
        thread.start()
        assert waiting.wait(20)
    thread.join(20)
    assert not thread.is_alive()
    with behind.priority():
        assert behind.yield_priority() < priority_lock.LONGEST_WAIT_SECONDS, (
            "one in the background holds up nobody"
        )


def test_an_ear_gives_way_before_each_piece_of_sound(
    source: SoundSource, store: FrameStore, tmp_path: Path
) -> None:
    calls: list[None] = []

    class Way(PriorityLock):
        def yield_priority(self) -> float:
            calls.append(None)
            return 0.0

    soundfile.write(tmp_path / "long.wav", np.zeros(100_000), 1000)
    way = Way(tmp_path / "lock", background=True)
    FrameExtractor(source, store, "counting-1", CountingEncoder, way).extract_address(
        str(tmp_path / "long.wav"), None
    )
    assert len(calls) == 4
