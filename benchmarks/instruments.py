"""Clips of ten instruments with the learners that `benchmarks.learn` compares on them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earmark.encoders.base import Encoder
from earmark.encoders.combined import embedding_parts
from earmark.head.examples import AnnotatedClip
from earmark.head.fit import fit_head
from earmark.head.model import ControlHead, Head
from earmark.head.zero_shot import zero_shot_head
from earmark.labels.control import Control
from earmark.labels.control_types.choices import SINGLE_CHOICE

BASELINE_RATE = 32_000
CONTROL = "instrument"

SYNONYMS: dict[str, tuple[str, ...]] = {"Violin_or_fiddle": ("Violin, fiddle",)}
"""As in ``predicted_values``, for the one label that is no class name."""

Scores = NDArray[np.float64]
Learner = Callable[[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]], Scores]
"""From training clips, their classes, and test clips, to probabilities ``[test, C]``."""


@dataclass(frozen=True)
class Instruments:
    """Clips of instruments: their frames, features of the baseline, classes and embeddings.

    Attributes
    ----------
    clips
        Frames of each clip, as the product stores them, ``n`` in all.
    plain
        Features of the baseline, ``[n, F]``; see `plain_statistics`.
    classes
        Position of each clip's label in ``labels``, ``[n]``.
    labels
        In alphabetical order, ``C`` in all.
    start
        The head before any label, where the encoder has class names; else None.
    embeddings
        Of whole clips, ``[n, E]``.
    """

    clips: tuple[AnnotatedClip, ...]
    plain: NDArray[np.float64]
    classes: NDArray[np.intp]
    labels: tuple[str, ...]
    encoder: Encoder
    start: Head | None
    embeddings: NDArray[np.float32]

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
        embeddings = np.stack([encoder.pool(clip.frames) for clip in clips])
        return cls(tuple(clips), np.array(plain), classes, labels, encoder, start, embeddings)

    def zero_shot(self) -> Scores | None:
        """Probabilities ``[n, C]`` without any label; None for an encoder without class names."""
        if self.start is None:
            return None
        head = self.start.controls[CONTROL]
        return self._columns(head, self.embeddings)

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
        fitted, _ = fit_head(
            encoder.pool,
            encoder.frame_rate,
            encoder.identity,
            [control],
            taught,
            start,
            parts=embedding_parts(encoder),
        )
        return self._columns(fitted.head.controls[control.name], self.embeddings[test])

    def _columns(self, head: ControlHead, embeddings: NDArray[np.float32]) -> Scores:
        """Probabilities of a head in the order of `labels`; 0 where it has no such label."""
        probabilities = np.zeros((len(embeddings), len(self.labels)))
        common = [place for place, label in enumerate(head.labels) if label in self.labels]
        columns = [self.labels.index(head.labels[place]) for place in common]
        probabilities[:, columns] = head.probabilities(embeddings)[:, common]
        return probabilities

    def baseline(self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]) -> Scores:
        """Scikit-learn's logistic regression on plain statistics; a `Learner`."""
        return self._scikit_learn(LogisticRegression(max_iter=5000), self.plain, train, classes, test)

    def logistic(self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]) -> Scores:
        """Scikit-learn's logistic regression on the encoder's embeddings; a `Learner`."""
        return self._scikit_learn(LogisticRegression(max_iter=5000), self.embeddings, train, classes, test)

    def lda(self, train: NDArray[np.intp], classes: NDArray[np.intp], test: NDArray[np.intp]) -> Scores:
        """Scikit-learn's discriminant analysis with shrinkage, on the encoder's embeddings; a `Learner`."""
        # Rotated to the dimensions that the sample spans: shrinkage forms a matrix of all dimensions, and
        # 3,000 take minutes for each fit.
        model = make_pipeline(PCA(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
        return self._scikit_learn(model, self.embeddings, train, classes, test)

    def _scikit_learn(
        self,
        model: BaseEstimator,
        features: NDArray[np.floating],
        train: NDArray[np.intp],
        classes: NDArray[np.intp],
        test: NDArray[np.intp],
    ) -> Scores:
        """Probabilities of a classifier after a StandardScaler."""
        pipeline = make_pipeline(StandardScaler(), model).fit(features[train], classes)
        probabilities = np.zeros((len(test), len(self.labels)))
        probabilities[:, pipeline.classes_] = pipeline.predict_proba(features[test])
        return probabilities


def plain_statistics(sound: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Statistics of 64 log-mel bands over a clip: ``[320]``."""
    power = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=1024, hop_length=320, n_mels=64)
    bands = np.log(power + 1e-8)
    step = np.abs(np.diff(bands, axis=1)).mean(axis=1) if bands.shape[1] > 1 else np.zeros(len(bands))
    parts = [bands.mean(axis=1), bands.std(axis=1), bands.min(axis=1), bands.max(axis=1), step]
    statistics: NDArray[np.float64] = np.concatenate(parts).astype(np.float64)
    return statistics
