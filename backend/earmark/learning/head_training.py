"""Head training: a fit to annotated clips, then what decides which of its predictions are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from earmark.encoders.base import Encoder
from earmark.encoders.combined import embedding_parts
from earmark.head.cross_validated_head import CrossValidatedHead
from earmark.head.examples import AnnotatedClip, Examples
from earmark.head.fit import FitReport, fit_head
from earmark.head.model import Head
from earmark.labels.control import Control
from earmark.learning.cooccurrence import learn_cooccurrence
from earmark.learning.region_scoring import learn_region_scoring


def train_head(
    encoder: Encoder,
    controls: Sequence[Control],
    clips: Sequence[AnnotatedClip],
    prior: Head | None = None,
    active: CrossValidatedHead | None = None,
    built: Mapping[str, Examples | None] | None = None,
) -> tuple[CrossValidatedHead, FitReport]:
    """Fit a head with region scoring and the co-occurrence of labels: for trainings, evaluations, benchmarks.

    Parameters
    ----------
    encoder
        That of the clips' frames.
    prior, active, built
        See `fit_head`.

    Raises
    ------
    NotEnoughAnnotationsError
        No control can be fitted.
    NotFiniteError
        The clips' frames, or what was fitted to them, hold NaN or infinity.
    """
    pool, rate = encoder.pool, encoder.frame_rate
    fitted, report = fit_head(
        pool, rate, encoder.identity, controls, clips, prior, active, built, embedding_parts(encoder)
    )
    # In this order: how often regions are missed is counted on those that scoring would show
    fitted = learn_region_scoring(pool, rate, controls, clips, fitted)
    return learn_cooccurrence(pool, rate, controls, clips, fitted), report
