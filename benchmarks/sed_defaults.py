"""Fits the default weights of region scorers, on soundscapes that `benchmarks.sed` does not measure.

``python -m benchmarks.sed_defaults``: prints ``DEFAULT_WEIGHTS``, ``DEFAULT_CUTS`` and ``DEFAULT_LENGTHS`` of
`earmark.head.region_scorer`. Heads learn from 5, 10 and 30 annotated soundscapes of each seed, with logmel
and yamnet+logmel; the candidates are those of soundscapes that they did not learn from.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from benchmarks.common import progress
from benchmarks.sed import (
    ANNOTATED,
    SHARED_AUDIO,
    Encoded,
    animal_calls,
    annotated_clips,
    control,
    encode,
    learn,
)
from benchmarks.sed_mixes import load_sources, make_mixes
from earmark.encoders import get_encoder
from earmark.encoders.base import Encoder
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.region_scorer import FEATURES, GAINS, RegionScorer
from earmark.learning.region_scoring import ScoredCandidates, fit_scorer, scored_candidates
from earmark.settings import Settings

SEEDS = (11, 12, 13, 14)
PRECISION = 3.0


def candidates_of(
    encoder: Encoder, labels: Sequence[str], train: Sequence[Encoded], test: Sequence[Encoded]
) -> list[ScoredCandidates]:
    """Candidates of the test mixes by heads that learned from some of the others."""
    candidates = []
    for number in ANNOTATED:
        head = learn(encoder, labels, train[:number])
        scored = scored_candidates(
            encoder.pool,
            encoder.frame_rate,
            control(labels),
            annotated_clips(test),
            CrossValidatedHead(head, (), {}),
            tuple(labels),
        )
        if scored is not None:
            candidates.append(scored)
    return candidates


def fit_defaults(parts: Sequence[ScoredCandidates]) -> tuple[list[float], list[float]]:
    """Weights and cuts, the same for all labels, from a prior around 0."""
    features = np.concatenate([part.features for part in parts])
    together = ScoredCandidates(
        features,
        np.zeros(len(features), dtype=np.intp),
        np.concatenate([part.gains for part in parts]),
        np.concatenate([part.groups for part in parts]),
    )
    scorer = fit_scorer(
        together,
        RegionScorer.default(1),
        np.ones(len(features), dtype=bool),
        PRECISION,
        np.zeros(len(FEATURES) + len(GAINS)),
    )
    return [round(float(w), 2) for w in scorer.weights], [
        round(float(c + scorer.offsets[0]), 2) for c in scorer.cuts
    ]


def main() -> None:
    """Fit on all seeds and print the constants as JSON."""
    parts, lengths = list[ScoredCandidates](), list[float]()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        sources = load_sources(SHARED_AUDIO, animal_calls(), rng)
        train = make_mixes(sources.train, sources.labels, ANNOTATED[-1], "train", rng)
        test = make_mixes(sources.test, sources.labels, ANNOTATED[-1], "test", rng)
        lengths += [event.offset - event.onset for mix in train for event in mix.events]
        for name in ("logmel", "yamnet+logmel"):
            encoder = get_encoder(Settings(_env_file=None, encoder=name))
            parts += candidates_of(encoder, sources.labels, encode(encoder, train), encode(encoder, test))
            progress(f"{name}, seed {seed}: {len(parts[-1].gains)} candidates")
    weights, cuts = fit_defaults(parts)
    spread = [round(float(value), 2) for value in (np.log(lengths).mean(), np.log(lengths).std())]
    print(json.dumps({"weights": weights, "cuts": cuts, "lengths": spread}), flush=True)


if __name__ == "__main__":
    main()
