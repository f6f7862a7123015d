"""Corpus of sound files whose content is known: every format, header fault and damage that decoders meet.

Each file holds faint noise with loud clicks at known times, so that a decoder that loses, adds or shifts
sound is found out. Everything is generated (``benchmarks.decode_sounds``), then changed byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.decode_headers import flac_length, id3, mp3_length, without_first_frame, without_webm_duration
from benchmarks.decode_sounds import CLICKS, OPUS_RATE, RATE, SECONDS, encode, wave, written

SECOND_SECONDS = 4.0
SECOND_CLICKS = (0.6, 1.9, 3.3)
LATE_SECONDS = 0.7
GAP_AT, GAP_SECONDS = 6.0, 1.0
CODEC_SECONDS = 0.1
"""Of delay and padding, where a format does not tell how much its codec adds."""


@dataclass(frozen=True)
class CorpusFile:
    """A file and what must be decoded from it.

    Attributes
    ----------
    name
        With the extension that such a file has.
    kind
        ``format``, ``header``, ``joined``, ``times``, ``damage`` or ``no sound``.
    seconds, clicks
        What it holds; None where it must be refused.
    tolerance
        Of the length and of each click in seconds.
    may_end
        Whether less may be decoded, as the end is lost.
    may_lack
        Times between which clicks may be missing, and damage may sound like one.
    may_refuse
        Whether it may be refused instead.
    as_played
        Whether what ffmpeg or a browser makes of it is right as well.
    """

    name: str
    kind: str
    content: bytes = field(repr=False)
    seconds: float | None
    clicks: tuple[float, ...] = ()
    tolerance: float = 0.02
    may_end: bool = False
    may_lack: tuple[float, float] | None = None
    may_refuse: bool = False
    as_played: bool = False


def corpus() -> Iterator[CorpusFile]:
    """Yield all files."""
    sounds = _Sounds()
    yield from _formats(sounds)
    yield from _header_faults(sounds)
    yield from _joined(sounds)
    yield from _times()
    yield from _damaged(sounds)
    yield from _no_sound(sounds)


class _Sounds:
    """Whole files that others are made of."""

    def __init__(self) -> None:
        sound, fast = wave(), wave(rate=OPUS_RATE)
        self.wav = written("WAV", "PCM_16", sound)
        self.flac = written("FLAC", "PCM_16", sound)
        self.mp3 = written("MP3", "MPEG_LAYER_III", sound, bitrate_mode="CONSTANT")
        self.vbr = written("MP3", "MPEG_LAYER_III", sound, bitrate_mode="VARIABLE")
        self.ogg = written("OGG", "VORBIS", sound)
        self.opus = encode("ogg", "libopus", fast, OPUS_RATE)
        self.m4a = encode("ipod", "aac", sound)
        self.webm = encode("webm", "libopus", fast, OPUS_RATE)
        self.adts = encode("adts", "aac", sound)

    def second(self, name: str) -> bytes:
        """Another sound in the format of the first one of that name."""
        sound, fast = wave(SECOND_SECONDS, SECOND_CLICKS), wave(SECOND_SECONDS, SECOND_CLICKS, OPUS_RATE)
        return {
            "flac": lambda: written("FLAC", "PCM_16", sound),
            "mp3": lambda: written("MP3", "MPEG_LAYER_III", sound, bitrate_mode="CONSTANT"),
            "ogg": lambda: written("OGG", "VORBIS", sound),
            "opus": lambda: encode("ogg", "libopus", fast, OPUS_RATE),
            "aac": lambda: encode("adts", "aac", sound),
        }[name]()


def _formats(sounds: _Sounds) -> Iterator[CorpusFile]:
    sound, fast = wave(), wave(rate=OPUS_RATE)
    stereo = np.stack([sound, 0.5 * sound], axis=1)
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"):
        yield _whole(f"{subtype.lower()}.wav", written("WAV", subtype, stereo))
    for subtype in ("IMA_ADPCM", "MS_ADPCM"):
        yield _whole(f"{subtype.lower()}.wav", written("WAV", subtype, stereo), padded=True)
    for form, suffix in (("WAVEX", "wav"), ("RF64", "wav"), ("W64", "w64"), ("AIFF", "aiff"), ("AU", "au")):
        yield _whole(f"{form.lower()}.{suffix}", written(form, "PCM_16", stereo))
    yield _whole("caf.caf", written("CAF", "PCM_16", stereo))
    yield _whole("alac.caf", written("CAF", "ALAC_16", stereo))
    for width in ("PCM_16", "PCM_24"):
        yield _whole(f"{width.lower()}.flac", written("FLAC", width, stereo))
    yield _whole("cbr.mp3", sounds.mp3)
    yield _whole("vbr.mp3", sounds.vbr)
    yield _whole("vorbis.ogg", sounds.ogg)
    yield _whole("opus.opus", sounds.opus)
    yield _whole("aac.m4a", sounds.m4a, padded=True)
    yield _whole("opus.webm", sounds.webm)
    yield _whole("aac.aac", sounds.adts, padded=True)
    for container, codec, suffix, padded in (
        ("ipod", "alac", "m4a", False),
        ("mov", "pcm_s16le", "mov", False),
        ("mp4", "aac", "mp4", True),
        ("matroska", "flac", "mkv", False),
        ("matroska", "pcm_s16le", "mka", False),
        ("matroska", "libmp3lame", "mkv", True),
        ("ac3", "ac3", "ac3", True),
        ("eac3", "eac3", "eac3", True),
        ("wv", "wavpack", "wv", False),
        ("tta", "tta", "tta", False),
        ("asf", "wmav2", "wma", True),
        ("avi", "libmp3lame", "avi", True),
        ("mpegts", "aac", "ts", True),
        ("flv", "aac", "flv", True),
        ("mp2", "mp2", "mp2", True),
    ):
        yield _whole(f"{codec}.{suffix}", encode(container, codec, sound), padded=padded)
    fragmented = encode("mp4", "aac", sound, options={"movflags": "frag_keyframe+empty_moov"})
    yield _whole("fragmented.mp4", fragmented, padded=True)
    yield _whole("opus_in.mp4", encode("mp4", "libopus", fast, OPUS_RATE))


def _header_faults(sounds: _Sounds) -> Iterator[CorpusFile]:
    wav = sounds.wav
    data = wav.index(b"data")

    def sized(size: int) -> bytes:
        return wav[: data + 4] + struct.pack("<I", size & 0xFFFFFFFF) + wav[data + 8 :]

    for name, size in (("zero", 0), ("unknown", -1), ("double", 2 * (len(wav) - data - 8))):
        yield _header(f"length_{name}.wav", sized(size))
    yield _header("riff_size_zero.wav", wav[:4] + bytes(4) + wav[8:])
    yield _header("id3_before.wav", id3(3000) + wav)
    junk = b"junk" + struct.pack("<I", 5000) + bytes(5000)
    yield _header("junk_chunk.wav", wav[:12] + junk + wav[12:])
    yield _header("junk_behind.wav", wav + b"junk and more junk" * 20)
    total = round(SECONDS * RATE)
    for name, count in (("unknown", 0), ("double", 2 * total), ("half", total // 2)):
        yield _header(f"length_{name}.flac", flac_length(sounds.flac, count))
    yield _header("id3_before.flac", id3(3000) + sounds.flac)
    yield _header("no_length_cbr.mp3", without_first_frame(sounds.mp3), padded=True)
    yield _header("no_length_vbr.mp3", without_first_frame(sounds.vbr), padded=True)
    yield _header("picture_before.mp3", id3(300_000) + sounds.mp3)
    yield _header("picture_no_length.mp3", id3(300_000) + without_first_frame(sounds.vbr), padded=True)
    for name, factor in (("double", 2.0), ("half", 0.5)):
        yield _header(f"length_{name}.mp3", mp3_length(sounds.vbr, factor), padded=True)
    yield _header("no_duration.webm", without_webm_duration(sounds.webm))
    yield _header("wrong_name.wav", sounds.mp3)
    yield _header("wrong_name.mp3", sounds.flac)


def _joined(sounds: _Sounds) -> Iterator[CorpusFile]:
    clicks = (*CLICKS, *(SECONDS + click for click in SECOND_CLICKS))
    seconds = SECONDS + SECOND_SECONDS
    for suffix, first in (
        ("flac", sounds.flac),
        ("mp3", sounds.mp3),
        ("ogg", sounds.ogg),
        ("opus", sounds.opus),
        ("aac", sounds.adts),
    ):
        padded = CODEC_SECONDS if suffix in ("mp3", "aac") else 0.02
        yield CorpusFile(
            f"joined.{suffix}",
            "joined",
            first + sounds.second(suffix),
            seconds,
            clicks,
            padded,
            as_played=True,
        )
    tagged = id3(2000) + sounds.mp3 + b"TAG".ljust(128, b"\0")
    yield CorpusFile(
        "joined_with_tags.mp3",
        "joined",
        tagged + id3(50_000) + sounds.second("mp3"),
        seconds,
        clicks,
        CODEC_SECONDS,
        as_played=True,
    )
    yield CorpusFile("joined.wav", "joined", sounds.wav * 2, SECONDS, CLICKS)


def _times() -> Iterator[CorpusFile]:
    sound, fast = wave(), wave(rate=OPUS_RATE)

    def late(seconds: float) -> float:
        return seconds + LATE_SECONDS

    def gap(seconds: float) -> float:
        return seconds + (GAP_SECONDS if seconds >= GAP_AT else 0)

    def lost(seconds: float) -> float | None:
        return None if GAP_AT <= seconds < GAP_AT + GAP_SECONDS else seconds

    after = tuple(click + GAP_SECONDS if click >= GAP_AT else click for click in CLICKS)
    for name, moved, seconds, clicks in (
        ("late", late, SECONDS + LATE_SECONDS, tuple(click + LATE_SECONDS for click in CLICKS)),
        ("gap", gap, SECONDS + GAP_SECONDS, after),
        ("lost", lost, SECONDS, CLICKS),
    ):
        for container, codec, suffix in (
            ("webm", "libopus", "webm"),
            ("matroska", "aac", "mkv"),
            ("mp4", "aac", "m4a"),
            ("matroska", "flac", "mka"),
        ):
            rate, samples = (OPUS_RATE, fast) if codec == "libopus" else (RATE, sound)
            content = encode(container, codec, samples, rate, moved=moved)
            tolerance = 0.02 if codec in ("libopus", "flac") else CODEC_SECONDS
            yield CorpusFile(f"{name}_{codec}.{suffix}", "times", content, seconds, clicks, tolerance)


def _damaged(sounds: _Sounds) -> Iterator[CorpusFile]:
    hole, cluster = (SECONDS * 0.35, SECONDS * 0.65), (SECONDS * 0.35, SECONDS * 0.85)
    for suffix, whole in (
        ("wav", sounds.wav),
        ("flac", sounds.flac),
        ("mp3", sounds.mp3),
        ("vbr.mp3", sounds.vbr),
        ("ogg", sounds.ogg),
        ("opus", sounds.opus),
        ("m4a", sounds.m4a),
        ("webm", sounds.webm),
        ("aac", sounds.adts),
    ):
        index_last = suffix == "m4a"
        tolerance = CODEC_SECONDS if suffix in ("m4a", "aac") else 0.025
        for name, end in (("cut", len(whole) * 6 // 10), ("end_lost", len(whole) - 200)):
            yield CorpusFile(
                f"{name}.{suffix}",
                "damage",
                whole[:end],
                SECONDS,
                CLICKS,
                tolerance,
                may_end=True,
                may_refuse=index_last,
            )
        middle = len(whole) // 2
        for name, content in (
            ("zeros", whole[:middle] + bytes(4000) + whole[middle + 4000 :]),
            ("removed", whole[:middle] + whole[middle + 3000 :]),
            ("noise", whole[:middle] + np.random.default_rng(1).bytes(40) + whole[middle + 40 :]),
        ):
            removed_wav = suffix == "wav" and name == "removed"  # which nothing tells, and 34 ms are missing
            yield CorpusFile(
                f"{name}.{suffix}",
                "damage",
                content,
                SECONDS,
                CLICKS,
                0.04 if removed_wav else tolerance,
                may_lack=cluster if suffix == "webm" else hole,
                may_refuse=True,
            )


def _no_sound(sounds: _Sounds) -> Iterator[CorpusFile]:
    tagged = bytearray(sounds.wav)
    at = tagged.index(b"fmt ") + 8
    tagged[at : at + 2] = struct.pack("<H", 0x1234)
    rateless = bytearray(sounds.wav)
    rateless[at + 4 : at + 8] = bytes(4)
    for name, content in (
        ("empty.wav", b""),
        ("unknown_codec.wav", bytes(tagged)),
        ("no_rate.wav", bytes(rateless)),
        ("text.mp3", b"not a sound\n" * 400),
        ("page.wav", b"<!doctype html><html><body>Not found</body></html>" * 20),
        ("header_only.flac", sounds.flac[:60]),
        ("index_lost.m4a", sounds.m4a[: len(sounds.m4a) // 2]),
        ("playlist.m3u8", b"#EXTM3U\n#EXTINF:3,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
    ):
        yield CorpusFile(name, "no sound", content, None)


def _whole(name: str, content: bytes, padded: bool = False) -> CorpusFile:
    tolerance = CODEC_SECONDS if padded else 0.02
    return CorpusFile(name, "format", content, SECONDS, CLICKS, tolerance, as_played=True)


def _header(name: str, content: bytes, padded: bool = False) -> CorpusFile:
    tolerance = CODEC_SECONDS if padded else 0.02
    return CorpusFile(name, "header", content, SECONDS, CLICKS, tolerance, as_played=True)
