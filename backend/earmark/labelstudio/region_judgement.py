"""Judged regions: labels after the verdict on a region, or its correction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from earmark.labels.control import Control
from earmark.labels.region import Region


def judgements(items: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return what was chosen for each region of a result, by the region's id and the control's name."""
    by_region: dict[str, dict[str, list[str]]] = {}
    for item in items:
        value, item_id = item.get("value"), item.get("id")
        if isinstance(item_id, str) and isinstance(value, dict) and (texts := chosen_texts(value)):
            of_region = by_region.setdefault(item_id, {})
            of_region.setdefault(str(item.get("from_name")), []).extend(texts)
    return by_region


def chosen_texts(value: Mapping[str, Any]) -> list[str]:
    """Return the choices in a result item's value, of a path its last part."""
    texts = []
    for key in ("choices", "taxonomy"):
        values = value.get(key)
        for choice in values if isinstance(values, list) else []:
            last = choice[-1] if isinstance(choice, list) and choice else choice
            texts += [last] if isinstance(last, str) else []
    return texts


def judged_region(region: Region, control: Control, values: Mapping[str, Sequence[str]]) -> Region:
    """Return a region as its annotator judged it.

    A corrected region carries the new label and denies the old one; if the control has no such label, it
    only denies the old one. An incorrect region denies its label, and an unsure one leaves it open.

    Parameters
    ----------
    values
        What was chosen for the region, by name of the per-region control.
    """
    verdicts: dict[str, set[str]] = {"verdict": set(), "doubt": set()}
    corrected: list[str] = []
    for verification in control.verification_controls:
        if verification.role == "correction":
            corrected += values.get(verification.name, ())
        elif judgement := verification.verdict(values.get(verification.name, ())):
            verdicts[verification.role].add(judgement)
    verdict = verdicts["verdict"]
    if corrected:
        labels = control.read_labels({control.result_type: corrected}, _by_shown(control))
        if labels == region.labels:
            return replace(region, weight=1.0)
        if "right" in verdict:
            return replace(region, labels=frozenset(), is_open=True)  # the two contradict each other
        return Region(region.start, region.end, labels, 1.0, region.labels - labels, not labels)
    if verdict == {"wrong"}:
        return Region(region.start, region.end, frozenset(), 1.0, region.labels, True)
    if verdict == {"right"}:
        return replace(region, weight=1.0)
    if verdict or verdicts["doubt"]:
        return replace(region, labels=frozenset(), is_open=True)
    return region


def _by_shown(control: Control) -> dict[str, str]:
    """Labels by the text that the interface shows for them, which a correction may spell out."""
    return {text: label for label, text in control.shown.items()}
