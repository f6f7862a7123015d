"""How well few labels teach: instrument clips, by themselves and with wrong labels, against a plain baseline.

``python -m benchmarks.learn [--quick] [--encoder NAME]`` reads ../shared/audio/instruments (200 clips of ten
instruments, each a recording of its own, so every clip is its own group) with the encoder ``logmel``, or
another one, whose weights are fetched into DATA_DIR. Everything is learned
on four fifths and measured on the fifth left out, choices of the fit included; figures are means over
several ways of dealing the folds.

The baseline is what one would write in an afternoon: mean, deviation, range and mean step of 64 log-mel
bands, scikit-learn's `StandardScaler` and `LogisticRegression` as they come. Wrong labels: 30 % of the
training clips get another label, drawn evenly. Few labels: so many clips of each class, drawn from the
training side. ``noise_loss_ratio`` is the lwlrap that wrong labels cost, ours over the baseline's;
``noise_loss_ratio_error`` is its standard error over the deals (jackknife). An encoder with class names
starts from them, as the product does: ``zero_shot_lwlrap`` is what it reaches without any label,
``without_names_…`` what it learns from labels alone. ``--labels-only`` leaves out the fits on all clips and
with wrong labels.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import progress, report
from earmark.encoders import get_encoder, registry
from earmark.encoders.base import Encoder
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.metrics import calibration_error, lwlrap
from earmark.head.model import Head
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control_types.choices import SINGLE_CHOICE
from earmark.labels.controls import Control
from earmark.settings import Settings

INSTRUMENTS = Path(__file__).parents[2] / "shared" / "audio" / "instruments"
FOLDS = 5
DEALS = 20
"""Which labels are wrong is drawn anew in each: five deals leave a standard error of 0.03 in their ratio."""
WRONG_SHARE = 0.3
LABELS_PER_CLASS = (1, 3, 10)
BASELINE_RATE = 32_000
CONTROL = "instrument"

SYNONYMS: dict[str, tuple[str, ...]] = {"Violin_or_fiddle": ("Violin, fiddle",)}
"""What ``predicted_values`` would say of the one label that is no name."""

Scores = NDArray[np.float64]
Learner = Callable[[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], Scores]
"""From training clips, their classes, and test clips, to probabilities ``[test, C]``."""


@dataclass(frozen=True)
class Instruments:
    """Clips as the product hears them, what the baseline sees ``[n, F]``, and classes ``[n]``."""

    clips: tuple[AnnotatedClip, ...]
    plain: NDArray[np.float64]
    classes: NDArray[np.intp]
    labels: tuple[str, ...]
    encoder: Encoder
    start: Head | None
    """The head before any label, of an encoder that knows the classes by name."""

    @classmethod
    def read(cls, folder: Path, encoder: Encoder) -> Instruments:
        """Read and encode every clip that ``labels.csv`` names."""
        clips, plain, names = [], [], []
        with (folder / "labels.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                sound, rate = soundfile.read(folder / row["fname"], dtype="float32", always_2d=True)
                mono = sound.mean(axis=1)
                frames = encoder.frames([soxr.resample(mono, rate, encoder.sample_rate)])
                clips.append(AnnotatedClip(frames, len(mono) / rate, row["fname"]))
                plain.append(plain_statistics(soxr.resample(mono, rate, BASELINE_RATE), BASELINE_RATE))
                names.append(row["labels"])
        labels = tuple(sorted(set(names)))
        classes = np.array([labels.index(name) for name in names])
        start = zero_shot_head(encoder, [Control(CONTROL, "audio", SINGLE_CHOICE, labels, "audio", SYNONYMS)])
        return cls(tuple(clips), np.array(plain), classes, labels, encoder, start)

    def zero_shot(self) -> Scores | None:
        """Probabilities ``[n, C]`` without any label; None for an encoder that knows no names."""
        if self.start is None:
            return None
        head = self.start.controls[CONTROL]
        embeddings = np.stack([self.encoder.pool(clip.frames) for clip in self.clips])
        found = np.zeros((len(self.clips), len(self.labels)))
        known = [place for place, label in enumerate(head.labels) if label in self.labels]
        columns = [self.labels.index(head.labels[place]) for place in known]
        found[:, columns] = head.probabilities(embeddings)[:, known]
        return found

    def ours(self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]) -> Scores:
        """The product: its start, its examples, its choices, its fit; a `Learner`."""
        return self._fitted(train, classes, test, self.start)

    def without_names(
        self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]
    ) -> Scores:
        """The product with labels that no class name matches; a `Learner`."""
        return self._fitted(train, classes, test, None)

    def _fitted(
        self,
        train: NDArray[np.intp],
        classes: NDArray[np.intp],
        test: NDArray[np.intp],
        start: Head | None,
    ) -> Scores:
        control = Control(CONTROL, "audio", SINGLE_CHOICE, self.labels, "audio", SYNONYMS)
        taught = [
            replace(self.clips[clip], tags={control.name: frozenset([self.labels[label]])})
            for clip, label in zip(train, classes, strict=True)
        ]
        encoder = self.encoder
        fitted, _ = fit_head(encoder.pool, encoder.frame_rate, encoder.identity, [control], taught, start)
        head = fitted.head.controls[control.name]
        embeddings = np.stack([encoder.pool(self.clips[clip].frames) for clip in test])
        found = np.zeros((len(test), len(self.labels)))
        known = [place for place, label in enumerate(head.labels) if label in self.labels]
        columns = [self.labels.index(head.labels[place]) for place in known]
        found[:, columns] = head.probabilities(embeddings)[:, known]
        return found

    def baseline(self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]) -> Scores:
        """Scikit-learn as it comes; a `Learner`."""
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(self.plain[train], classes)
        found = np.full((len(test), len(self.labels)), -np.inf)
        found[:, model.classes_] = np.log(model.predict_proba(self.plain[test]) + 1e-300)
        return np.asarray(softmax(found, axis=1))


def plain_statistics(sound: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Statistics of 64 log-mel bands over a clip: ``[320]``."""
    power = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=1024, hop_length=320, n_mels=64)
    bands = np.log(power + 1e-8)
    step = np.abs(np.diff(bands, axis=1)).mean(axis=1) if bands.shape[1] > 1 else np.zeros(len(bands))
    parts = [bands.mean(axis=1), bands.std(axis=1), bands.min(axis=1), bands.max(axis=1), step]
    statistics: NDArray[np.float64] = np.concatenate(parts).astype(np.float64)
    return statistics


def deal(classes: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """A fold for each clip, classes spread evenly."""
    folds = np.zeros(len(classes), dtype=np.intp)
    for label in np.unique(classes):
        clips = rng.permutation(np.flatnonzero(classes == label))
        folds[clips] = (np.arange(len(clips)) + rng.integers(FOLDS)) % FOLDS
    return folds


def with_wrong(
    classes: NDArray[np.intp], share: float, count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Classes of which a share was replaced by another of ``count`` classes."""
    wrong = rng.permutation(len(classes))[: round(share * len(classes))]
    found = classes.copy()
    found[wrong] = (found[wrong] + rng.integers(1, count, size=len(wrong))) % count
    return found


def few(classes: NDArray[np.intp], per_class: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """So many clips of each class, as positions."""
    return np.concatenate(
        [rng.permutation(np.flatnonzero(classes == label))[:per_class] for label in np.unique(classes)]
    )


@dataclass
class Figures:
    """Sums over the ways of dealing the folds."""

    lwlrap: list[float]
    accuracy: list[float]
    sure: list[Scores]
    right: list[NDArray[np.bool_]]

    @property
    def ece(self) -> float:
        """Of all answers together: two hundred alone would show an error of 0.04 by chance."""
        return calibration_error(np.concatenate(self.right), np.concatenate(self.sure))

    @classmethod
    def of(cls, data: Instruments, learner: Learner, seeds: range, wrong: float, per_class: int) -> Figures:
        """Measure a learner with a share of wrong labels, or (above 0) with few clips of each class."""
        figures = cls([], [], [], [])
        truth = np.eye(len(data.labels), dtype=bool)[data.classes]
        for seed in seeds:
            rng = np.random.default_rng(seed)
            folds = deal(data.classes, rng)
            found = np.zeros(truth.shape)
            for fold in range(FOLDS):
                train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                if per_class:
                    train = train[few(data.classes[train], per_class, rng)]
                found[test] = learner(
                    train, with_wrong(data.classes[train], wrong, len(data.labels), rng), test
                )
            right = found.argmax(axis=1) == data.classes
            figures.lwlrap.append(lwlrap(truth, found))
            figures.accuracy.append(float(right.mean()))
            figures.sure.append(found.max(axis=1))
            figures.right.append(right)
        return figures


def measure(data: Instruments, deals: int, labels_only: bool = False) -> dict[str, object]:
    """Run everything, or only what few labels reach, and return the figures."""
    seeds = range(deals)
    figures = few_labels(data, seeds)
    return figures if labels_only else figures | many_labels(data, seeds)


def few_labels(data: Instruments, seeds: range) -> dict[str, object]:
    """Figures without any label, and at 1, 3 and 10 labels a class."""
    figures: dict[str, object] = {"encoder": data.encoder.identity, "deals": len(seeds)}
    learners: dict[str, Learner] = {"": data.ours, "baseline_": data.baseline}
    found = data.zero_shot()
    if found is not None:
        truth = np.eye(len(data.labels), dtype=bool)[data.classes]
        right = found.argmax(axis=1) == data.classes
        figures["zero_shot_lwlrap"] = lwlrap(truth, found)
        figures["zero_shot_accuracy"] = float(right.mean())
        figures["zero_shot_ece"] = calibration_error(right, found.max(axis=1))
        learners["without_names_"] = data.without_names
    for name, learner in learners.items():
        curve = []
        for per_class in LABELS_PER_CLASS:
            progress(f"{len(seeds)} times {FOLDS} folds: {name or 'ours '}{per_class} clips per class")
            curve.append(Figures.of(data, learner, seeds, 0.0, per_class))
        key = "at_1_3_10_labels_per_class"
        figures[f"{name or 'lwlrap_'}{key}"] = [round(float(np.mean(own.lwlrap)), 6) for own in curve]
        figures[f"{name}accuracy_{key}"] = [round(float(np.mean(own.accuracy)), 6) for own in curve]
        figures[f"{name}ece_{key}"] = [round(own.ece, 6) for own in curve]
    return figures


def many_labels(data: Instruments, seeds: range) -> dict[str, object]:
    """Figures with all labels, and with wrong ones among them."""
    deals = len(seeds)

    def both(wrong: float) -> tuple[Figures, Figures]:
        progress(f"{deals} times {FOLDS} folds: wrong labels {wrong:.0%}, all clips")
        return (
            Figures.of(data, data.ours, seeds, wrong, 0),
            Figures.of(data, data.baseline, seeds, wrong, 0),
        )

    ours, baseline = both(0.0)
    ours_wrong, baseline_wrong = both(WRONG_SHARE)
    clean, plain = np.mean(ours.lwlrap), np.mean(baseline.lwlrap)
    noisy, plain_noisy = np.mean(ours_wrong.lwlrap), np.mean(baseline_wrong.lwlrap)
    return {
        "lwlrap": float(clean),
        "accuracy": float(np.mean(ours.accuracy)),
        "baseline_lwlrap": float(plain),
        "baseline_accuracy": float(np.mean(baseline.accuracy)),
        "lwlrap_30pct_noise": float(noisy),
        "baseline_30pct_noise": float(plain_noisy),
        "noise_loss_ratio": float((clean - noisy) / (plain - plain_noisy)),
        "noise_loss_ratio_error": ratio_error(
            np.subtract(ours.lwlrap, ours_wrong.lwlrap), np.subtract(baseline.lwlrap, baseline_wrong.lwlrap)
        ),
        "ece": ours.ece,
    }


def ratio_error(above: Scores, below: Scores) -> float | None:
    """Standard error of the ratio of two means over the same deals ``[n]`` (jackknife); None for one deal."""
    count = len(above)
    if count < 2:
        return None
    without = (above.sum() - above) / (below.sum() - below)
    return float(np.sqrt((count - 1) * without.var()))


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one way of dealing the folds, within a minute")
    parser.add_argument("--encoder", choices=registry.names(), default="logmel", help="default: logmel")
    parser.add_argument("--labels-only", action="store_true", help="only what no or few labels reach")
    parser.add_argument("--deals", type=int, help=f"ways of dealing the folds (default: {DEALS})")
    arguments = parser.parse_args()
    if not INSTRUMENTS.is_dir():
        parser.error("the shared instrument clips are not beside this project")
    progress("reading and encoding the clips")
    data = Instruments.read(INSTRUMENTS, get_encoder(Settings(encoder=arguments.encoder)))
    deals = arguments.deals or (1 if arguments.quick else DEALS)
    report(**measure(data, deals, arguments.labels_only))


if __name__ == "__main__":
    main()
