"""Decoding to mono float32: levels, lengths, formats and damage."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from earmark.audio.decode import open_sound, probe, read, read_blocks
from earmark.audio.resampling import LOUDEST
from earmark.errors import SoundNotFoundError, SoundUnreadableError
from tests.examples import with_examples

RATE = 44100


def tone(seconds: float = 1.0, rate: int = RATE, level: float = 0.5) -> NDArray[np.float32]:
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def encode(
    path: Path, codec: str, wave: NDArray[np.float32], sample_format: str, *, format: str | None = None
) -> Path:
    """Write ``[channels, n]`` with FFmpeg, with the time stamps that its own command line writes."""
    rate = 48000 if "opus" in codec else RATE
    layout = {1: "mono", 2: "stereo"}[len(wave)]
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(format=sample_format, layout=layout, rate=rate, frame_size=size)
        for piece in resampler.resample(frame) + resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 1 / 64), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-7), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_level_of_every_width(tmp_path: Path, subtype: str, step: float) -> None:
    wave = tone()
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype=subtype)
    decoded = read(tmp_path / "a.wav", RATE)
    assert decoded.dtype == np.float32
    assert decoded.shape == wave.shape
    np.testing.assert_allclose(decoded, wave, atol=step + 1e-9)


@pytest.mark.parametrize(
    ("name", "codec", "sample_format", "step"),
    [
        ("a.mkv", "pcm_u8", "u8", 1 / 64),
        ("a.mkv", "pcm_s16le", "s16", 1e-4),
        ("a.mkv", "pcm_s24le", "s32", 1e-6),
        ("a.mkv", "pcm_s32le", "s32", 1e-7),
        ("a.mov", "pcm_f64le", "dbl", 1e-7),
        ("a.m4a", "alac", "s16p", 1e-4),
        ("a.m4a", "alac", "s32p", 1e-6),
    ],
)
def test_level_of_every_width_beyond_soundfile(
    tmp_path: Path, name: str, codec: str, sample_format: str, step: float
) -> None:
    left = tone()
    path = encode(tmp_path / name, codec, np.stack([left, -0.25 * left]), sample_format)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (RATE, 2)
    assert info.duration_seconds == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(read(path, RATE), 0.375 * left, atol=step)


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.webm", "libopus")])
def test_compressed_sound_starts_in_time(tmp_path: Path, name: str, codec: str) -> None:
    """A click stays where it was: the encoder delay is taken off, and nothing else."""
    rate = 48000 if codec == "libopus" else RATE
    wave = np.zeros(2 * rate, np.float32)
    click = np.random.default_rng(0).uniform(-0.7, 0.7, 400).astype(np.float32)
    wave[20000:20400] = click
    path = encode(tmp_path / name, codec, wave[None], "fltp" if codec == "aac" else "flt")
    decoded = read(path, rate)
    assert decoded.size >= wave.size
    assert abs(int(np.correlate(decoded, click, "valid").argmax()) - 20000) <= 2


def test_video_gives_its_sound(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(10):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(tone()[None, : 43 * 1024], format="fltp", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=1024)
        for piece in resampler.resample(frame):
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    assert read(path, 32000).size / 32000 == pytest.approx(1.0, abs=0.05)


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(picture.encode(None))
    with pytest.raises(SoundUnreadableError, match=r"mute\.mp4 has no audio track"):
        read(path, 32000)


def test_a_live_recording_has_a_duration(tmp_path: Path) -> None:
    """What a browser records has none in its header, because it was written as it came."""
    path = encode(tmp_path / "a.webm", "libopus", tone(1.5, 48000)[None], "flt")
    content = path.read_bytes()
    duration = content.find(b"\x44\x89")  # the element Duration (RFC 9559), made a Void element
    assert duration > 0
    size = content[duration + 2] & 0x7F
    void = b"\xec" + bytes([0x80 | (size + 1)]) + bytes(size + 1)
    path.write_bytes(content[:duration] + void + content[duration + len(void) :])
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).duration_seconds == pytest.approx(1.5, abs=0.03)


@given(
    frames=st.integers(1, 30_000),
    rate=st.sampled_from([8000, 11025, 16000, 32000, 44100, 48000, 96000]),
    channels=st.integers(1, 6),
    block=st.sampled_from([0.001, 0.013, 0.5, 10.0]),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
)
@with_examples(40)
def test_any_shape_of_wav(frames: int, rate: int, channels: int, block: float, subtype: str) -> None:
    """Downmixed, resampled as one stream: what soxr makes of the whole mean, whatever the blocks."""
    wave = np.random.default_rng(frames).uniform(-0.9, 0.9, (frames, channels)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        soundfile.write(path, wave, rate, subtype=subtype)
        blocks = list(read_blocks(path, 32000, block))
        info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, channels)
    assert info.duration_seconds == pytest.approx(frames / rate)
    assert all(b.ndim == 1 and b.size and b.dtype == np.float32 for b in blocks)
    mean = wave.mean(axis=1)
    expected = mean if rate == 32000 else soxr.resample(mean, rate, 32000)
    if not expected.size:  # shorter than one sample at 32 kHz
        expected = mean[:1]
    decoded = np.concatenate(blocks)
    assert abs(decoded.size - frames * 32000 / rate) <= 1
    np.testing.assert_allclose(decoded, expected, atol=2e-4)


def test_one_sample_is_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), 32000)
    assert read(tmp_path / "a.wav", 32000).tolist() == [0.5]


def test_odd_floats_do_no_harm(tmp_path: Path) -> None:
    wave = np.array([0.1, np.nan, np.inf, -np.inf, 1e30, -0.1], np.float32)
    soundfile.write(tmp_path / "a.wav", wave, 32000, subtype="FLOAT")
    decoded = read(tmp_path / "a.wav", 32000)
    np.testing.assert_allclose(decoded, np.array([0.1, 0, 0, 0, LOUDEST, -0.1], np.float32))
    assert np.isfinite(read(tmp_path / "a.wav", 48000)).all()


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_16") as file:
        for _ in range(30):
            file.write(tone(60, 8000))
    tracemalloc.start()
    try:
        seconds = sum(block.size for block in read_blocks(path, 16000)) / 16000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds == 1800
    assert peak < 8_000_000, "half an hour is 115 MB as float32"


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.mp3", "no extension"])
def test_the_content_counts_not_the_name(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(), RATE, format="FLAC")
    assert read(tmp_path / name, RATE).size == RATE


def _wav_header() -> bytes:
    return (
        b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    )


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.wav", b"", "is empty"),
        ("text.wav", b"not a sound\n" * 40, "is not a sound file"),
        ("page.mp3", b"<!doctype html><html><body>Not found</body></html>" * 20, "is not a sound file"),
        ("header.wav", _wav_header()[:30], "is not a sound file"),
        ("nothing.wav", _wav_header() + b"data" + struct.pack("<I", 0), "holds no samples"),
        ("zeros.flac", bytes(4000), "holds no samples"),
    ],
)
def test_what_is_no_sound(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for attempt in (probe, lambda p: read(p, 32000)):
        with pytest.raises(SoundUnreadableError) as caught:
            attempt(path)
        assert says in str(caught.value)
        assert str(caught.value).startswith(name)
    with pytest.raises(SoundUnreadableError, match=r"^meeting 7\.wav "):
        probe(path, name="meeting 7.wav")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for attempt in (probe, lambda p: read(p, 32000)):
        with pytest.raises(SoundNotFoundError, match=r"gone\.wav"):
            attempt(tmp_path / "gone.wav")
    with pytest.raises(SoundNotFoundError):
        probe(tmp_path)


def test_a_cut_recording_is_read_to_its_end(tmp_path: Path) -> None:
    """Recorders that lose power leave such files; their sound is whole up to there."""
    soundfile.write(tmp_path / "a.wav", tone(3), RATE, subtype="PCM_16")
    cut = tmp_path / "cut.wav"
    cut.write_bytes((tmp_path / "a.wav").read_bytes()[: 44 + 2 * RATE])
    assert read(cut, RATE).size == RATE
    whole = encode(tmp_path / "a.webm", "libopus", tone(3, 48000)[None], "flt")
    cut = tmp_path / "cut.webm"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 0.5 < read(cut, 48000).size / 48000 < 2.5


def test_what_the_header_gets_wrong_is_said(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    soundfile.write(tmp_path / "a.flac", noise, RATE)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 3])
    sound = open_sound(tmp_path / "a.flac")
    seconds = sum(block.size for block in sound.blocks()) / sound.rate
    assert 0.8 < seconds < 1.1
    assert "3.0 s" in sound.remark
    assert probe(tmp_path / "a.flac").duration_seconds == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{other}'\n"),
    ],
)
def test_a_playlist_reads_no_other_file(tmp_path: Path, name: str, content: str) -> None:
    soundfile.write(tmp_path / "secret.wav", tone(), RATE)
    (tmp_path / name).write_text(content.format(other=tmp_path / "secret.wav"))
    with pytest.raises(SoundUnreadableError):
        read(tmp_path / name, 32000)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda tail: _wav_header() + tail)))
@with_examples(60)
def test_any_bytes_are_sound_or_a_clear_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        path.write_bytes(content)
        try:
            decoded = read(path, 32000)
        except SoundUnreadableError as error:
            assert str(error).startswith("a.wav ")  # noqa: PT017
        else:
            assert decoded.size
            assert np.isfinite(decoded).all()


@given(at=st.integers(0, 3000), junk=st.binary(min_size=1, max_size=40))
@with_examples(60)
def test_damaged_compressed_files_are_sound_or_a_clear_error(
    compressed: dict[str, bytes], at: int, junk: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in compressed.items():
            path = Path(folder) / name
            at_here = at % len(content)
            path.write_bytes(content[:at_here] + junk + content[at_here + len(junk) :])
            try:
                assert np.isfinite(read(path, 32000)).all()
            except SoundUnreadableError as error:
                assert str(error).startswith(name)  # noqa: PT017


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("compressed")
    short = tone(0.2)
    for suffix in ("flac", "ogg", "mp3"):
        soundfile.write(folder / f"a.{suffix}", short, RATE)
    encode(folder / "a.m4a", "aac", short[None], "fltp")
    encode(folder / "a.webm", "libopus", tone(0.2, 48000)[None], "flt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_real_recording() -> None:
    clip = Path(__file__).parents[2].parent / "shared/audio/reference/R9_ZSCveAHg_7s.wav"
    if not clip.is_file():
        pytest.skip("the shared reference clip is not beside the project")
    info = probe(clip)
    assert read(clip, 32000).size == pytest.approx(info.duration_seconds * 32000, abs=1)
