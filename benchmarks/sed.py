"""Regions on soundscapes with exactly known events: edges, F1, false alarms and an annotator's effort.

``python -m benchmarks.sed [--quick]``: 60 generated soundscapes, 30 annotated and 30 predicted, whose sounds
are never the same; heads learned from 5, 10 and 30 of them. ``plain``: the same head's probabilities cut at
its thresholds, on the encoder's frames. ``with_names``: by heads that start from the encoder's classes which
the labels' names match, as in the product; the others know no names. Needs the shared audio folder beside the
project.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import soxr
import typer
from numpy.typing import NDArray

from benchmarks.common import progress
from benchmarks.sed_mixes import Mix, load_sources, make_backgrounds, make_mixes
from benchmarks.sed_scores import scores
from earmark.encoders import get_encoder
from earmark.encoders.base import Encoder, Tagger
from earmark.features.band_levels import BandLevelMeter
from earmark.head.examples import AnnotatedClip
from earmark.head.model import Head
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control import Control
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.region import Region
from earmark.learning.head_training import train_head
from earmark.prediction.frame_probabilities import frame_probabilities
from earmark.prediction.overlap import runs
from earmark.prediction.postprocessing import predict_clip
from earmark.settings import Settings
from scripts.demo_clips import SAMPLE_RATE, Event, make_clips
from scripts.demo_recordings import Calls, RecordingsError, fetch_recordings, load_calls

SHARED_AUDIO = Path(__file__).resolve().parents[2] / "shared" / "audio"
CONTROL = "label"
SEED = 2026
ANNOTATED = (5, 10, 30)
HEADLINE = "yamnet+logmel"
"""Whose figures with most annotations are named without a path."""
HOUR_SECONDS = 3600


@dataclass(frozen=True)
class Encoded:
    """A mix with frames and band levels."""

    mix: Mix
    frames: NDArray[np.floating[Any]]
    levels: NDArray[np.uint8]


def encode(encoder: Encoder, mixes: Sequence[Mix]) -> list[Encoded]:
    """Encode mixes and measure their band levels."""
    meter = BandLevelMeter()
    return [
        Encoded(
            mix, encoder.frames([_at(mix, encoder.sample_rate)]), meter.frames([_at(mix, meter.sample_rate)])
        )
        for mix in mixes
    ]


def learn(
    encoder: Encoder, labels: Sequence[str], mixes: Sequence[Encoded], with_names: bool = False
) -> Head:
    """Fit a head on annotated mixes, as a training does; ``with_names``: from the zero-shot head."""
    clips = annotated_clips(mixes)
    controls = [control(labels)]
    prior = zero_shot_head(encoder, controls) if with_names else None
    return train_head(encoder, controls, clips, prior)[0].head


def annotated_clips(mixes: Sequence[Encoded]) -> list[AnnotatedClip]:
    """Mixes with their events as annotations."""
    return [
        AnnotatedClip(
            clip.frames,
            clip.mix.seconds,
            clip.mix.name,
            regions={
                CONTROL: tuple(Region(e.onset, e.offset, frozenset([e.label])) for e in clip.mix.events)
            },
            levels=clip.levels,
        )
        for clip in mixes
    ]


def control(labels: Sequence[str]) -> Control:
    """The regions control of these labels."""
    return Control(CONTROL, "audio", REGION_LABELS, tuple(labels), "audio")


def predict(encoder: Encoder, head: Head, labels: Sequence[str], clip: Encoded) -> list[Event]:
    """Regions as the product shows them."""
    prediction = predict_clip(
        head, [control(labels)], encoder.pool, encoder.frame_rate, clip.frames, clip.mix.seconds, clip.levels
    )
    return [Event(region.start, region.end, region.label) for region in prediction.regions]


def predict_plain(encoder: Encoder, head: Head, clip: Encoded) -> list[Event]:
    """Stretches of frames at or above their label's threshold."""
    fitted = head.controls[CONTROL]
    (curves,) = frame_probabilities([fitted], encoder.pool, encoder.frame_rate, clip.frames)
    return [
        Event(first / encoder.frame_rate, min(last / encoder.frame_rate, clip.mix.seconds), label)
        for label, curve, threshold in zip(fitted.labels, curves.T, fitted.thresholds, strict=True)
        for first, last in runs(curve >= threshold)
    ]


def measure(
    encoder: Encoder,
    labels: Sequence[str],
    train: Sequence[Encoded],
    test: Sequence[Encoded],
    background: Sequence[Encoded],
    with_names: bool = False,
) -> tuple[Head, dict[str, float]]:
    """Learn from the annotated mixes and score the others."""
    head = learn(encoder, labels, train, with_names)
    minutes = sum(clip.mix.seconds for clip in background) / 60
    true = [clip.mix.events for clip in test]
    shown = scores(
        [predict(encoder, head, labels, clip) for clip in test],
        true,
        labels,
        [predict(encoder, head, labels, clip) for clip in background],
        minutes,
    )
    plain = scores(
        [predict_plain(encoder, head, clip) for clip in test],
        true,
        labels,
        [predict_plain(encoder, head, clip) for clip in background],
        minutes,
    )
    return head, shown | {f"{name}_plain": value for name, value in plain.items()}


def seconds_per_hour(encoder: Encoder, head: Head, labels: Sequence[str], clip: Encoded) -> float:
    """Processor seconds for the regions of an hour from its stored frames and levels."""
    times = int(np.ceil(HOUR_SECONDS / clip.mix.seconds))
    frames, levels = np.tile(clip.frames, (times, 1)), np.tile(clip.levels, (times, 1))
    seconds = times * clip.mix.seconds
    started = time.process_time()
    predict_clip(head, [control(labels)], encoder.pool, encoder.frame_rate, frames, seconds, levels)
    return (time.process_time() - started) * HOUR_SECONDS / seconds


def demo_mixes(folder: Path, count: int) -> list[Mix]:
    """The demo's synthesised clips."""
    mixes = []
    for clip in make_clips(folder, count):
        samples, _ = soundfile.read(folder / clip.name)
        mixes.append(Mix(clip.name, samples, clip.events))
    return mixes


def soundscapes(encoder: Encoder, head: Head, labels: Sequence[str]) -> dict[str, Any]:
    """What is predicted in the two mixes of the shared audio, beside their truth."""
    by_name = {}
    for path in sorted((SHARED_AUDIO / "soundscapes").glob("*.flac")):
        samples, rate = soundfile.read(path, always_2d=True)
        mix = Mix(path.stem, soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE), ())
        (clip,) = encode(encoder, [mix])
        with path.with_suffix(".csv").open(newline="") as table:
            truth = [[float(r["onset"]), float(r["offset"]), r["event_label"]] for r in csv.DictReader(table)]
        shown = [
            [round(e.onset, 2), round(e.offset, 2), e.label] for e in predict(encoder, head, labels, clip)
        ]
        by_name[path.stem] = {"predicted": shown, "true": truth}
    return by_name


def main(quick: bool = False) -> None:
    """Measure logmel, yamnet+logmel, and cnn14+logmel where its weights are."""
    if not SHARED_AUDIO.is_dir():
        sys.exit(f"{SHARED_AUDIO} is not here: this benchmark needs the shared audio beside the project.")
    rng = np.random.default_rng(SEED)
    sources = load_sources(SHARED_AUDIO, animal_calls(), rng)
    count = 12 if quick else 30
    annotated = [ANNOTATED[0], count] if quick else list(ANNOTATED)
    train = make_mixes(sources.train, sources.labels, count, "train", rng)
    test = make_mixes(sources.test, sources.labels, count, "test", rng)
    background = make_backgrounds(2 if quick else 6, rng)
    progress(f"{len(train)} + {len(test)} soundscapes of {len(sources.labels)} labels")
    results: dict[str, Any] = {}
    for name in ("logmel", "yamnet+logmel", "cnn14+logmel"):
        settings = Settings(_env_file=None, encoder=name)
        if name.startswith("cnn14") and not _has_cnn14(settings):
            progress("cnn14+logmel left out: its weights are not here")
            continue
        encoder = get_encoder(settings)
        annotatable, predicted, quiet = (encode(encoder, mixes) for mixes in (train, test, background))
        progress(f"{name}: encoded")
        results[name] = {}
        for number in annotated:
            head, figures = measure(encoder, sources.labels, annotatable[:number], predicted, quiet)
            results[name][str(number)] = figures
            progress(f"{name}, {number} annotated: effort {figures['effort_ratio']:.3f}")
        if isinstance(encoder, Tagger):
            results[name]["with_names"] = {}
            for number in annotated:
                _, figures = measure(
                    encoder, sources.labels, annotatable[:number], predicted, quiet, with_names=True
                )
                results[name]["with_names"][str(number)] = figures
                progress(f"{name}, {number} annotated, with names: effort {figures['effort_ratio']:.3f}")
        results[name]["seconds_per_hour_of_audio"] = seconds_per_hour(
            encoder, head, sources.labels, predicted[0]
        )
        results[name]["soundscapes"] = soundscapes(encoder, head, sources.labels)
        if not quick:
            with TemporaryDirectory() as folder:
                clips = encode(encoder, demo_mixes(Path(folder), 60))
            labels = sorted({event.label for clip in clips for event in clip.mix.events})
            _, figures = measure(encoder, labels, clips[::2], clips[1::2], quiet)
            results[name]["demo"] = figures
            progress(f"{name}, demo's clips: effort {figures['effort_ratio']:.3f}")
    headline = results[HEADLINE][str(annotated[-1])]
    print(json.dumps(_rounded(headline | results)), flush=True)


def animal_calls() -> dict[str, Calls]:
    """The demo's animals; none where they cannot be had."""
    with TemporaryDirectory() as folder:
        try:
            return load_calls(fetch_recordings(Path(folder)))
        except RecordingsError as error:
            progress(f"without the demo's animals: {error}")
            return {}


def _at(mix: Mix, rate: int) -> NDArray[np.float32]:
    return np.asarray(soxr.resample(mix.samples, SAMPLE_RATE, rate), dtype=np.float32)


def _has_cnn14(settings: Settings) -> bool:
    from earmark.encoders.weights.cnn14_weights import find_checkpoint

    return find_checkpoint(settings) is not None


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    typer.run(main)
