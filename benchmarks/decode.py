"""Whether every kind of sound file is decoded whole and in time, against players, and how fast.

``python -m benchmarks.decode [--quick]``: each file of ``benchmarks.decode_corpus`` is decoded in another
process, which is replaced where a decoder crashes or exceeds a time limit. A result agrees if its length and
its clicks are, within 20 ms (100 ms where a format does not tell what its codec adds), those that the file
holds, or for whole and joined files those that ffmpeg or Chromium's ``decodeAudioData`` makes of it, where
these are installed. What is decoded otherwise is wrong: better refused than out of step. Speed is that of
`read` against ``librosa.load`` of the same file, both to mono at 32 kHz.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import structlog

from benchmarks.common import progress, report
from benchmarks.decode_corpus import CorpusFile, corpus
from benchmarks.decode_players import chromium_decoded, ffmpeg_decoded
from benchmarks.decode_sounds import OPUS_RATE, RATE, clicks_in, encode, wave, written
from earmark.audio.decode import read
from earmark.errors import EarmarkError

LIMIT_SECONDS = 60.0
"""A small file that takes longer hangs."""
SPEED_RATE = 32_000
SPEED_SECONDS, QUICK_SPEED_SECONDS = 180.0, 20.0
ROUNDS = 5


@dataclass(frozen=True)
class Decoded:
    """Length and clicks in seconds, or why there are none: ``refused`` by us, or another ``error``."""

    seconds: float = 0.0
    clicks: tuple[float, ...] = ()
    refused: str = ""
    error: str = ""


def decoded(path: Path) -> Decoded:
    """Decode a file with our decoder."""
    try:
        samples = read(path, SPEED_RATE)
    except EarmarkError as error:
        return Decoded(refused=str(error))
    except Exception as error:  # noqa: BLE001 which is what is counted
        return Decoded(error=f"{type(error).__name__}: {error}")
    return Decoded(len(samples) / SPEED_RATE, tuple(clicks_in(samples, SPEED_RATE)))


class Isolated:
    """Decodes in another process, which is replaced when it dies or hangs."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self.hung = 0

    def decode(self, path: Path) -> Decoded:
        """Decode a file; a death or a time-out is an error."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), initializer=_log_warnings_alone
            )
        try:
            return self._pool.submit(decoded, path).result(LIMIT_SECONDS)
        except BrokenProcessPool:
            self._pool = None
            return Decoded(error="the process died")
        except TimeoutError:
            self.hung += 1
            self.close(kill=True)
            return Decoded(error=f"more than {LIMIT_SECONDS:.0f} s")

    def close(self, kill: bool = False) -> None:
        """End the process."""
        if self._pool is not None:
            if kill:
                for process in list(self._pool._processes.values()):
                    process.kill()
            self._pool.shutdown(wait=not kill, cancel_futures=True)
            self._pool = None


def agrees(file: CorpusFile, seconds: float, clicks: tuple[float, ...]) -> bool:
    """Whether a result is what the file holds."""
    if file.seconds is None:
        return False
    expected = [click for click in file.clicks if not file.may_end or click < seconds - file.tolerance]
    if file.may_lack:
        start, end = file.may_lack
        expected = [click for click in expected if not start <= click <= end]
        clicks = tuple(click for click in clicks if not start <= click <= end)
    in_length = seconds <= file.seconds + file.tolerance and (
        file.may_end or seconds >= file.seconds - file.tolerance
    )
    return in_length and _same(expected, clicks, file.tolerance)


def _same(expected: list[float] | tuple[float, ...], clicks: tuple[float, ...], tolerance: float) -> bool:
    return len(expected) == len(clicks) and all(
        abs(first - second) <= tolerance for first, second in zip(expected, clicks, strict=True)
    )


def alike(first: Decoded, second: Decoded, tolerance: float = 0.02) -> bool:
    """Whether two decoders found the same length and clicks."""
    return abs(first.seconds - second.seconds) <= tolerance and _same(first.clicks, second.clicks, tolerance)


def compare(folder: Path) -> dict[str, object]:
    """Decode the corpus in a folder; return the figures."""
    files = list(corpus())
    for file in files:
        (folder / file.name).write_bytes(file.content)
    progress(f"{len(files)} files generated")
    players: dict[str, dict[str, Decoded]] = {}
    for name, decode_all in (("ffmpeg", ffmpeg_decoded), ("chromium", chromium_decoded)):
        sounds = decode_all(folder, [file.name for file in files])
        if sounds is None:
            progress(f"{name} is not installed, so nothing is compared with it")
            continue
        players[name] = {
            path: Decoded(len(samples) / rate, tuple(clicks_in(samples, rate)))
            for path, (samples, rate) in sounds.items()
        }
        progress(f"{name} decoded {len(sounds)} of them")
    figures: dict[str, int] = dict.fromkeys(("agree", "refused", "wrong"), 0)
    failed = 0
    isolated = Isolated()
    for file in files:
        result = isolated.decode(folder / file.name)
        played = [
            name
            for name, results in players.items()
            if file.name in results and alike(result, results[file.name])
        ]
        for name in played:
            figures[f"agree_with_{name}"] = figures.get(f"agree_with_{name}", 0) + 1
        if result.error:
            failed += 1
            progress(f"{file.name}: {result.error}")
        elif result.refused:
            may = file.may_refuse or file.seconds is None
            figures["refused" if may else "wrong"] += 1
            progress(f"{file.name}: refused{'' if may else ', wrongly'}: {result.refused}")
        elif agrees(file, result.seconds, result.clicks) or (file.as_played and played):
            figures["agree"] += 1
        else:
            figures["wrong"] += 1
            progress(
                f"{file.name} is wrong: {result.seconds:.3f} s, clicks at {result.clicks}, "
                f"not {file.seconds} s and {file.clicks}"
            )
    isolated.close()
    crashed = failed - isolated.hung
    return {"files": len(files), **figures, "crashed": crashed, "hung": isolated.hung}


def speed(folder: Path, seconds: float) -> dict[str, float]:
    """Return by format how many times faster than ``librosa.load`` a file is read."""
    clicks = tuple(float(click) for click in np.arange(1.0, seconds, 2.5))
    sound, fast = wave(seconds, clicks), wave(seconds, clicks, OPUS_RATE)
    stereo = np.stack([sound, 0.5 * sound], axis=1)
    contents: dict[str, Callable[[], bytes]] = {
        "wav": lambda: written("WAV", "PCM_16", stereo),
        "flac": lambda: written("FLAC", "PCM_16", stereo),
        "mp3": lambda: written("MP3", "MPEG_LAYER_III", stereo),
        "ogg": lambda: written("OGG", "VORBIS", stereo),
        "opus": lambda: encode("ogg", "libopus", fast, OPUS_RATE),
        "m4a": lambda: encode("ipod", "aac", sound, RATE),
        "webm": lambda: encode("webm", "libopus", fast, OPUS_RATE),
    }
    ratios: dict[str, float] = {}
    for suffix, content in contents.items():
        path = folder / f"speed.{suffix}"
        path.write_bytes(content())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # librosa's, about formats that libsndfile does not read
            try:
                theirs, ours = _fastest(
                    partial(librosa.load, path, sr=SPEED_RATE), partial(read, path, SPEED_RATE)
                )
            except Exception as error:  # noqa: BLE001 of any of the libraries that it tries
                progress(f"librosa cannot load {suffix} here: {error!r}")
                continue
        ratios[suffix] = round(theirs / ours, 2)
        progress(f"{suffix}: {theirs / ours:.2f} times as fast as librosa.load ({1000 * ours:.0f} ms)")
    return ratios


def _fastest(*works: Callable[[], object]) -> list[float]:
    """Return the least seconds of each; they take turns, so that a busy machine slows all of them."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, of_work in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            of_work.append(time.perf_counter() - started)
    return [min(of_work) for of_work in times]


def _log_warnings_alone() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="shorter files for the speed")
    quick = parser.parse_args().quick
    _log_warnings_alone()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder))
        ratios = speed(Path(folder), QUICK_SPEED_SECONDS if quick else SPEED_SECONDS)
    report(**figures, ratio_vs_librosa_load=ratios)


if __name__ == "__main__":
    main()
