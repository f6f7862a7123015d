"""How fast and how well many labels are fitted, against scikit-learn, on data whose best answer is known.

``python -m benchmarks.fit [--quick]``: every label has a mean in 2048 dimensions; a row is the sum of the
means of its labels (one, or in a fifth of the rows two) and noise whose covariance all rows share: a few
loud directions and many quiet ones, as embeddings have. Its posterior is computed exactly over all sets of
one or two labels, and nothing ranks better than it.

Ours is `fit_examples`: folds, choices, calibration, thresholds, measurement, and the fit on everything and
without each fold. Theirs is one fit of `OneVsRestClassifier(LogisticRegression)`, its C chosen beforehand,
on other data of the same kind, and not timed. Both run on the same rows, one after the other; lwlrap is on
new rows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from benchmarks.common import progress, report
from earmark.head.examples import Examples
from earmark.head.fit import fit_examples
from earmark.head.metrics import lwlrap
from earmark.labels.control import Control
from earmark.labels.control_types.choices import MULTIPLE_CHOICE

ROWS, DIMENSIONS, LABELS = 10_000, 2048, 80
SECOND_LABEL_SHARE = 0.2
LOUD = 64
"""Directions in which the noise is loud."""
DISTANCE = 4.0
"""Of a label's mean from nothing, in deviations of the noise (Mahalanobis)."""
TESTED = 2000
GROWTH = (2_500, 5_000, 10_000, 20_000, 40_000)
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
"""Scikit-learn's C, of which the best is taken."""
QUICK_ROWS, QUICK_DIMENSIONS, QUICK_LABELS = 3_000, 128, 16


@dataclass(frozen=True)
class Mixture:
    """``means`` ``[C, E]`` of labels, and the noise's ``loud`` directions ``[LOUD, E]``, as long as loud."""

    means: NDArray[np.float64]
    loud: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, dimensions: int, labels: int) -> Mixture:
        """Labels and noise directions at random; noise has unit deviation where it is quiet."""
        directions, _ = np.linalg.qr(rng.normal(size=(dimensions, LOUD)))
        loud = directions.T * np.geomspace(20.0, 2.0, LOUD)[:, None]
        means = rng.normal(size=(labels, dimensions))
        mixture = cls(means, loud)
        size = np.sqrt((means * mixture.whitened(means)).sum(axis=1))
        return cls(DISTANCE * means / size[:, None], loud)

    def whitened(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows ``[n, E]`` times the inverse of the noise's covariance, ``I + loudᵀ loud``."""
        power = np.square(self.loud).sum(axis=1)
        units = self.loud / np.sqrt(power)[:, None]
        return np.asarray(rows - (rows @ units.T * (power / (1 + power))) @ units)

    def rows(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Embeddings ``[n, E]`` and labels ``[n, C]``."""
        labels, dimensions = self.means.shape
        truth = np.zeros((count, labels), dtype=bool)
        first = rng.integers(labels, size=count)
        second = (first + rng.integers(1, labels, size=count)) % labels
        truth[np.arange(count), first] = True
        two = rng.uniform(size=count) < SECOND_LABEL_SHARE
        truth[two, second[two]] = True
        rows = np.empty((count, dimensions), dtype=np.float32)
        for start in range(0, count, 5000):
            part = truth[start : start + 5000]
            noise = rng.normal(size=(len(part), dimensions)) + rng.normal(size=(len(part), LOUD)) @ self.loud
            rows[start : start + 5000] = part @ self.means + noise
        return rows, truth

    def posterior(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probability of each label in each row: ``[n, C]``, over all sets of one or two labels."""
        labels = len(self.means)
        evidence = rows.astype(np.float64) @ self.whitened(self.means).T
        overlap = self.means @ self.whitened(self.means).T
        size = np.diag(overlap)
        first, second = np.triu_indices(labels, 1)
        alone = evidence - size / 2 + np.log((1 - SECOND_LABEL_SHARE) / labels)
        pairs = (
            evidence[:, first]
            + evidence[:, second]
            - (size[first] + size[second]) / 2
            - overlap[first, second]
        ) + np.log(SECOND_LABEL_SHARE / len(first))
        likely = softmax(np.concatenate([alone, pairs], axis=1), axis=1)
        singles = likely[:, :labels].copy()
        members = np.zeros((len(first), labels))
        members[np.arange(len(first)), first] = members[np.arange(len(first)), second] = 1
        scores: NDArray[np.float64] = singles + likely[:, labels:] @ members
        return scores


def ours(
    rows: NDArray[np.float32], truth: NDArray[np.bool_], tested: NDArray[np.float32]
) -> tuple[float, NDArray[np.float32]]:
    """Seconds of a fit, and probabilities of the tested rows."""
    labels = tuple(f"label {index:02d}" for index in range(truth.shape[1]))
    examples = Examples(
        labels,
        rows,
        truth,
        np.ones(truth.shape),
        np.array([f"recording {index:05d}" for index in range(len(rows))]),
        np.ones(len(rows), dtype=bool),
    )
    started = time.perf_counter()
    fitted = fit_examples(Control("tags", "audio", MULTIPLE_CHOICE, labels, "audio"), examples)
    return time.perf_counter() - started, fitted.head.probabilities(tested)


def theirs(
    rows: NDArray[np.float32], truth: NDArray[np.bool_], tested: NDArray[np.float32], strength: float
) -> tuple[float, NDArray[np.float64]]:
    """The same of scikit-learn."""
    model = OneVsRestClassifier(LogisticRegression(C=strength, solver="lbfgs", max_iter=1000))
    started = time.perf_counter()
    model.fit(rows, truth)
    return time.perf_counter() - started, model.predict_proba(tested)


def chosen_strength(mixture: Mixture, rng: np.random.Generator, count: int) -> float:
    """Scikit-learn's best C, on data of its own."""
    rows, truth = mixture.rows(count + TESTED, rng)
    scores = []
    for strength in STRENGTHS:
        seconds, probabilities = theirs(rows[:count], truth[:count], rows[count:], strength)
        scores.append(lwlrap(truth[count:], probabilities))
        progress(f"scikit-learn with C = {strength:g}: lwlrap {scores[-1]:.4f} in {seconds:.0f} s")
    return STRENGTHS[int(np.argmax(scores))]


def _mixture(quick: bool) -> Mixture:
    rng = np.random.default_rng(0)
    return (
        Mixture.draw(rng, QUICK_DIMENSIONS, QUICK_LABELS) if quick else Mixture.draw(rng, DIMENSIONS, LABELS)
    )


def measure(quick: bool) -> dict[str, object]:
    """Run everything and return the figures."""
    mixture = _mixture(quick)
    rows_count = QUICK_ROWS if quick else ROWS
    strength = chosen_strength(mixture, np.random.default_rng(1), rows_count)
    rng = np.random.default_rng(2)
    rows, truth = mixture.rows(rows_count, rng)
    tested, tested_truth = mixture.rows(TESTED, rng)
    best = lwlrap(tested_truth, mixture.posterior(tested))
    seconds, probabilities = ours(rows, truth, tested)
    own = lwlrap(tested_truth, probabilities)
    progress(f"ours: lwlrap {own:.4f} of {best:.4f} in {seconds:.1f} s")
    their_seconds, their_found = theirs(rows, truth, tested, strength)
    progress(f"scikit-learn: lwlrap {lwlrap(tested_truth, their_found):.4f} in {their_seconds:.1f} s")
    sizes = GROWTH[1:4] if quick else GROWTH
    spent = []
    for count in sizes:
        more, more_truth = mixture.rows(count, rng)
        spent.append(ours(more, more_truth, tested[:1])[0])
        progress(f"{count} rows: {spent[-1]:.1f} s")
    return {
        "seconds": seconds,
        "ratio_vs_sklearn": their_seconds / seconds,
        "lwlrap_ours": own,
        "lwlrap_sklearn": lwlrap(tested_truth, their_found),
        "lwlrap_best_possible": best,
        "growth_exponent": float(np.polyfit(np.log(sizes), np.log(spent), 1)[0]),
    }


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and dimensions, within a minute")
    report(**measure(parser.parse_args().quick))


if __name__ == "__main__":
    main()
