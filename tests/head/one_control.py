"""Fitting of one control, for tests that need no whole head."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.head.examples import AnnotatedClip, build_examples
from earmark.head.fit import ControlReport, fit_examples
from earmark.head.model import ControlHead
from earmark.head.windows import Pool
from earmark.labels.control import Control


def fit_control(
    pool: Pool,
    frame_rate: float,
    control: Control,
    clips: Sequence[AnnotatedClip],
    prior: ControlHead | None = None,
) -> tuple[ControlHead, ControlReport]:
    """Fit and measure one control; parameters and errors are those of `fit_head`."""
    examples = build_examples(pool, frame_rate, control, clips)
    fitted = fit_examples(control, examples, prior)
    return fitted.head, fitted.report
