"""The demo's synthesised clips, whose truth is known exactly; they need no network.

``python -m scripts.demo_clips FOLDER`` writes them alone.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.storage.atomic_files import atomic_write
from scripts.demo_sounds import SOUNDS

Samples = NDArray[np.float64]

SAMPLE_RATE = 32_000
"""Hz, the sample rate of CNN14."""
SEED = 20_260
RECIPE = 1
"""Raise it when the synthesis changes: clips of another recipe are made anew."""
FADE_SECONDS = 0.012
SHORTEST_CLIP_SECONDS, LONGEST_CLIP_SECONDS = 4.0, 8.0
COMPANY, COMPANY_PERIOD = (1, 3), 5
"""Which of five clips in a row hold two or three events."""
MARGIN_SECONDS = 0.1
"""Least silence before the first sound and after the last one."""
PEAK = 0.89
TRUTH = "truth.csv"
_MANIFEST = "clips.json"


@dataclass(frozen=True)
class Event:
    """One sound. ``onset`` and ``offset`` in seconds from the start of its clip."""

    onset: float
    offset: float
    label: str


@dataclass(frozen=True)
class DemoClip:
    """A WAV file called ``name``, ``duration`` seconds long, and what sounds in it, by onset."""

    name: str
    duration: float
    events: tuple[Event, ...]


def make_clips(
    folder: Path,
    count: int = 60,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> list[DemoClip]:
    """Write clips as mono 16-bit WAV, and ``truth.csv``; complete files are kept.

    The same seed gives the same bytes, and a shorter series is the beginning of a longer one.

    Parameters
    ----------
    progress
        Called after each clip with the number done and ``count``.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    plans = plan_clips(count, seed)
    write_clips(
        folder,
        plans,
        lambda number: render(plans[number], np.random.default_rng([seed, number, 1])),
        {"seed": seed, "recipe": RECIPE},
        progress,
    )
    return plans


def write_clips(
    folder: Path,
    clips: Sequence[DemoClip],
    render_clip: Callable[[int], bytes],
    made_from: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a series of clips and ``truth.csv``; complete files are kept.

    Parameters
    ----------
    render_clip
        Returns the WAV file of the clip at an index.
    made_from
        Of what the bytes depend on, beside the index: clips of anything else are made anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier_sizes = _known_sizes(folder, made_from)
    sizes: dict[str, int] = {}
    for number, clip in enumerate(clips):
        path = folder / clip.name
        size = path.stat().st_size if path.is_file() else -1
        if earlier_sizes.get(clip.name) != size:
            data = render_clip(number)
            with atomic_write(path) as part:
                part.write_bytes(data)
            size = len(data)
        sizes[clip.name] = size
        if progress:
            progress(number + 1, len(clips))
    # The manifest comes last: sizes are vouched for only once the files are whole.
    _write_text(folder / TRUTH, _truth_text(clips))
    manifest = {**made_from, "sizes": {**earlier_sizes, **sizes}}
    _write_text(folder / _MANIFEST, json.dumps(manifest, sort_keys=True))


def is_for_testing(clip: DemoClip) -> bool:
    """Whether a check of the demo leaves a clip unlabelled: those of even number, every second one."""
    return int(clip.name.removeprefix("clip-").removesuffix(".wav")) % 2 == 0


def load_truth(folder: Path) -> list[DemoClip]:
    """Read ``truth.csv`` and the clips' durations, in the order of the file.

    Raises
    ------
    OSError
        The file or a clip that it names is missing.
    """
    events: dict[str, list[Event]] = {}
    with (folder / TRUTH).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            event = Event(float(row["onset"]), float(row["offset"]), row["event_label"])
            events.setdefault(row["fname"], []).append(event)
    return [
        DemoClip(name, soundfile.info(str(folder / name)).duration, tuple(clip_events))
        for name, clip_events in events.items()
    ]


def plan_clips(count: int, seed: int = SEED) -> list[DemoClip]:
    """Decide what sounds when, for the first clips of a series.

    Each block of as many clips as there are labels has every label once as its first sound, and
    company is the label that was used least so far: any prefix is nearly balanced.
    """
    labels = tuple(SOUNDS)
    used = Counter(dict.fromkeys(labels, 0))
    plans = []
    for number in range(count):
        block, place = divmod(number, len(labels))
        order = np.random.default_rng([seed, block, 2]).permutation(len(labels))
        rng = np.random.default_rng([seed, number, 0])
        wanted = [labels[order[place]]]
        if number % COMPANY_PERIOD in COMPANY:
            company = 2 if number % 3 == 0 else 1
            others = [label for label in rng.permutation(labels).tolist() if label != wanted[0]]
            wanted += sorted(others, key=lambda label: used[label])[:company]
        used.update(wanted)
        plans.append(_schedule(f"clip-{number + 1:03d}.wav", wanted, rng))
    return plans


def render(clip: DemoClip, rng: np.random.Generator) -> bytes:
    """Synthesise a clip and return the WAV file."""
    length = round(clip.duration * SAMPLE_RATE)
    bed_level = 10 ** (rng.uniform(-58, -46) / 20)
    mix = bed_level * background_noise(length, rng)
    for event in clip.events:
        start = round(event.onset * SAMPLE_RATE)
        samples = round(event.offset * SAMPLE_RATE) - start
        sound = SOUNDS[event.label].make(samples, SAMPLE_RATE, rng)
        loudness = float(np.sqrt(np.mean(sound**2)))
        level = 10 ** (rng.uniform(-27, -17) / 20)
        mix[start : start + samples] += faded(sound) * (level / max(loudness, 1e-9))
    return wav_file(mix)


def wav_file(mix: Samples) -> bytes:
    """Encode as mono 16-bit WAV. Only what would clip is held back; levels stay as they were drawn."""
    mix = mix * min(1.0, PEAK / float(np.abs(mix).max()))
    file = io.BytesIO()
    soundfile.write(file, np.round(mix * 32767).astype(np.int16), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _schedule(name: str, labels: list[str], rng: np.random.Generator) -> DemoClip:
    """Draw the clip's length and when each sound starts and ends, in seconds."""
    lengths = [float(rng.uniform(*SOUNDS[label].seconds)) for label in labels]
    duration = draw_duration(rng, lengths)
    share = (duration - 2 * MARGIN_SECONDS) / len(labels)
    events = []
    for position, (label, length) in enumerate(zip(labels, lengths, strict=True)):
        # Each sound has its share of the clip to start in, and may reach over into the next one.
        earliest = MARGIN_SECONDS + position * share
        latest = min(earliest + 0.8 * share, duration - MARGIN_SECONDS - length)
        onset = float(rng.uniform(min(earliest, latest), latest))
        events.append(Event(round(onset, 3), round(onset + length, 3), label))
    return DemoClip(name, duration, tuple(sorted(events, key=lambda event: (event.onset, event.label))))


def draw_duration(rng: np.random.Generator, lengths: list[float]) -> float:
    """Clip length in seconds: room for the longest sound, and for half of each of the others."""
    needed = max(lengths) + 0.5 * (sum(lengths) - max(lengths)) + 0.5
    shortest = min(max(SHORTEST_CLIP_SECONDS, needed), LONGEST_CLIP_SECONDS - 0.5)
    return round(float(rng.uniform(shortest, LONGEST_CLIP_SECONDS)), 2)


def background_noise(length: int, rng: np.random.Generator) -> Samples:
    """Background noise of RMS 1, anywhere between rumbling and hissing, with a slow swell."""
    tilt = rng.uniform(0.3, 1.0)
    frequencies = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 40.0)
    spectrum = np.fft.rfft(rng.standard_normal(length)) / frequencies**tilt
    noise = np.fft.irfft(spectrum, length)
    swell = 1 + 0.3 * np.sin(np.linspace(0, rng.uniform(2, 8), length) + rng.uniform(0, 6.28))
    noise = noise * swell
    normalised: Samples = noise / np.sqrt(np.mean(noise**2))
    return normalised


def faded(sound: Samples) -> Samples:
    """Fade in within 2 ms and out within 12 ms, in place of the clicks of hard edges."""
    fade = min(round(FADE_SECONDS * SAMPLE_RATE), len(sound) // 2)
    # Half a cosine up and down; the start is much shorter, so that hits stay hits.
    rise = max(1, fade // 8)
    sound = sound.copy()
    sound[:rise] *= 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, rise))
    sound[-fade:] *= 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fade))
    return sound


def _known_sizes(folder: Path, made_from: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of the clips that an earlier call has finished from the same."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        sizes = dict(manifest.pop("sizes"))
        if manifest == made_from:
            return sizes
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


def _truth_text(clips: Sequence[DemoClip]) -> str:
    text = io.StringIO()
    rows = csv.DictWriter(text, ["fname", "onset", "offset", "event_label"], lineterminator="\n")
    rows.writeheader()
    for clip in clips:
        for event in clip.events:
            fields = asdict(event)
            rows.writerow({"fname": clip.name, "event_label": fields.pop("label"), **fields})
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    made = make_clips(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-clips"))
    print(f"{len(made)} clips, {sum(clip.duration for clip in made):.0f} s")
