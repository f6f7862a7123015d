"""Accuracy with few labels: instrument clips, by themselves and with wrong labels, against scikit-learn.

``python -m benchmarks.learn [--quick] [--encoder NAME]`` reads ../shared/audio/instruments (200 clips of ten
instruments, each a recording of its own, so every clip is its own group) with the encoder ``logmel``, or
another one, whose weights are fetched into DATA_DIR. Everything is learned on four fifths and measured on the
fifth left out, choices of the fit included; figures are means over several ways of dealing the folds.

Learners, by the beginning of their keys: none, the product, which starts from the class names that labels
match; ``without_names_``, the product with labels that match none; ``logistic_`` and ``lda_``,
scikit-learn's `LogisticRegression` and `LinearDiscriminantAnalysis` with shrinkage, after a `StandardScaler`,
on the same embeddings; ``baseline_``, the same logistic regression on mean, deviation, range and mean
step of 64 log-mel bands, the simplest reasonable baseline.

Wrong labels: 30 % of the training clips get another label, drawn evenly. Few labels: so many clips of each
class, drawn from the training side. ``noise_loss_ratio`` is the lwlrap that wrong labels cost, ours over the
baseline's; ``noise_loss_ratio_error`` is its standard error over the deals (jackknife). ``zero_shot_lwlrap``
is what an encoder with class names reaches without any label. ``--labels-only`` leaves out the fits on all
clips and with wrong labels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import progress, report
from benchmarks.instruments import Instruments, Learner, Scores
from earmark.encoders import get_encoder, registry
from earmark.head.metrics import calibration_error, lwlrap
from earmark.settings import Settings

INSTRUMENTS = Path(__file__).parents[2] / "shared" / "audio" / "instruments"
FOLDS = 5
DEALS = 20
"""Which labels are wrong is drawn anew in each: five deals leave a standard error of 0.03 in their ratio."""
WRONG_SHARE = 0.3
LABELS_PER_CLASS = (1, 3, 10)


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
    changed = classes.copy()
    changed[wrong] = (changed[wrong] + rng.integers(1, count, size=len(wrong))) % count
    return changed


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
            probabilities = np.zeros(truth.shape)
            for fold in range(FOLDS):
                train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
                if per_class:
                    train = train[few(data.classes[train], per_class, rng)]
                probabilities[test] = learner(
                    train, with_wrong(data.classes[train], wrong, len(data.labels), rng), test
                )
            right = probabilities.argmax(axis=1) == data.classes
            figures.lwlrap.append(lwlrap(truth, probabilities))
            figures.accuracy.append(float(right.mean()))
            figures.sure.append(probabilities.max(axis=1))
            figures.right.append(right)
        return figures


def measure(data: Instruments, deals: int, labels_only: bool = False) -> dict[str, object]:
    """Run everything, or only what few labels reach, and return the figures."""
    seeds = range(deals)
    figures = few_labels(data, seeds)
    return figures if labels_only else figures | many_labels(data, seeds)


def learners_of(data: Instruments) -> dict[str, Learner]:
    """Everything that is compared, by the beginning of its keys."""
    ours: dict[str, Learner] = {"": data.ours}
    if data.start is not None:
        ours["without_names_"] = data.without_names
    return ours | {"logistic_": data.logistic, "lda_": data.lda, "baseline_": data.baseline}


def few_labels(data: Instruments, seeds: range) -> dict[str, object]:
    """Figures without any label, and at 1, 3 and 10 labels a class."""
    figures: dict[str, object] = {"encoder": data.encoder.identity, "deals": len(seeds)}
    probabilities = data.zero_shot()
    if probabilities is not None:
        truth = np.eye(len(data.labels), dtype=bool)[data.classes]
        right = probabilities.argmax(axis=1) == data.classes
        figures["zero_shot_lwlrap"] = lwlrap(truth, probabilities)
        figures["zero_shot_accuracy"] = float(right.mean())
        figures["zero_shot_ece"] = calibration_error(right, probabilities.max(axis=1))
    for name, learner in learners_of(data).items():
        curve: list[Figures | None] = []
        for per_class in LABELS_PER_CLASS:
            if name == "lda_" and per_class == 1:
                curve.append(None)  # one example of each class shows no spread within classes
                continue
            progress(f"{len(seeds)} times {FOLDS} folds: {name or 'ours '}{per_class} clips per class")
            curve.append(Figures.of(data, learner, seeds, 0.0, per_class))
        key = "at_1_3_10_labels_per_class"
        figures[f"{name or 'lwlrap_'}{key}"] = [own and round(float(np.mean(own.lwlrap)), 6) for own in curve]
        figures[f"{name}accuracy_{key}"] = [own and round(float(np.mean(own.accuracy)), 6) for own in curve]
        figures[f"{name}ece_{key}"] = [own and round(own.ece, 6) for own in curve]
    return figures


def many_labels(data: Instruments, seeds: range) -> dict[str, object]:
    """Figures with all labels, and with wrong ones among them."""
    figures: dict[str, object] = {}
    losses: dict[str, Scores] = {}
    for name, learner in learners_of(data).items():
        what = f"{name or 'ours '}all clips, then {WRONG_SHARE:.0%} wrong labels"
        progress(f"{len(seeds)} times {FOLDS} folds: {what}")
        clean = Figures.of(data, learner, seeds, 0.0, 0)
        noisy = Figures.of(data, learner, seeds, WRONG_SHARE, 0)
        losses[name] = np.subtract(clean.lwlrap, noisy.lwlrap)
        figures |= {
            f"{name}lwlrap": float(np.mean(clean.lwlrap)),
            f"{name}accuracy": float(np.mean(clean.accuracy)),
            f"{name}ece": clean.ece,
            f"{name}lwlrap_30pct_noise": float(np.mean(noisy.lwlrap)),
        }
    ours, baseline = losses[""], losses["baseline_"]
    return figures | {
        "noise_loss_ratio": float(ours.mean() / baseline.mean()),
        "noise_loss_ratio_error": ratio_error(ours, baseline),
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
