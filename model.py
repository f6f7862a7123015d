"""The hooks that Label Studio's own ML tooling expects: ``predict`` and ``fit``.

The class works with label-studio-ml 1.0.9, inside that package's server too, and with the base
class of its 2.x line. Earmark's own server does not need this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from earmark.api.hooks import Hooks


class EarmarkModel(LabelStudioMLBase):  # type: ignore[misc]
    """Pre-annotates sound and learns from annotations, for whichever server holds it."""

    def predict(
        self, tasks: Sequence[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Predict tasks: one item ``{"result", "score", "model_version", …}`` for each, in order."""
        project = kwargs.get("project") or getattr(self, "project_id", None)
        return Hooks.of(self).predict(tasks, project, context)

    def fit(self, event: Any, data: Any, **kwargs: Any) -> dict[str, Any]:
        """Store a webhook's event and train on what waits.

        Returns
        -------
        ``{"model_version": …}``: the version that answers from now on.
        """
        return Hooks.of(self).fit(event, data)

    def process_event(
        self, event: str, data: dict[str, Any], job_id: str, additional_params: dict[str, Any]
    ) -> dict[str, Any]:
        """Hand every event to ``fit``.

        The method of 1.0.9 passes ``fit`` an empty list first, and leaves out the events of
        deletions and of Start Training.
        """
        return self.fit(event, data, job_id=job_id, **additional_params)
