"""Splits of a project's annotated sounds: cross-validation by any field, or a fixed test set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import ConfigurationError
from earmark.head.folds import assign_folds

RECORDING = "recording"
"""Default of what folds are grouped by: stretches and copies of a recording are never on both sides."""
MOST_OWN_FOLDS = 10
"""A field with at most this many values has a fold for each value."""
LEAST_FOLDS = 2


@dataclass(frozen=True)
class SplitRules:
    """Options of an evaluation.

    ``folds_by``: a field of the tasks' data, or ``recording``. ``folds``: their number, where the field
    has more values than `MOST_OWN_FOLDS`. ``test``: ``field=value`` of the tasks of a fixed test set, or
    the path of a list of their numbers or file names.
    """

    folds_by: str = RECORDING
    folds: int = 5
    test: str | None = None


@dataclass(frozen=True)
class Split:
    """Positions of sounds: those that a head is fitted on, and those that it is measured on."""

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True)
class Placed:
    """One annotated sound as splits need it. ``labels``: all that the annotation holds."""

    task_id: int
    file_name: str
    recording: str
    data: Mapping[str, Any]
    labels: frozenset[str]


def splits_of(placed: Sequence[Placed], rules: SplitRules) -> list[Split]:
    """Split sounds by the rules.

    Recordings are never on both sides of a split of folds. A fixed test set is as it is marked: other
    sounds of its recordings are left out of the training.

    Raises
    ------
    ConfigurationError
        A field is missing, a list cannot be read, or a side of a split is empty.
    """
    return [_fixed(placed, rules.test)] if rules.test else _folds(placed, rules)


def _fixed(placed: Sequence[Placed], test: str) -> Split:
    name, equals, value = test.partition("=")
    if equals:
        marked = np.array([str(sound.data.get(name)) == value for sound in placed])
        if not any(name in sound.data for sound in placed):
            raise ConfigurationError(f"No annotated task has a field {name}: check --test.")
    else:
        wanted = _listed(Path(test))
        marked = np.array([bool({str(s.task_id), s.file_name} & wanted) for s in placed])
    tested = {sound.recording for sound, is_test in zip(placed, marked, strict=True) if is_test}
    train = np.array([sound.recording not in tested for sound in placed])
    if not marked.any() or not train.any():
        raise ConfigurationError(
            f"--test {test} marks {int(marked.sum())} of {len(placed)} annotated sounds, and "
            f"{int(train.sum())} are left to learn from: both are needed."
        )
    return Split("test", np.flatnonzero(train), np.flatnonzero(marked))


def _listed(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The list of test sounds {path} cannot be read ({error}): give a file with a task's number or a "
            "file name on each line, or FIELD=VALUE."
        ) from error
    return {line.strip() for line in lines if line.strip()}


def _folds(placed: Sequence[Placed], rules: SplitRules) -> list[Split]:
    groups = _groups(placed, rules.folds_by)
    values = Counter(groups)
    if len(values) < LEAST_FOLDS:
        raise ConfigurationError(
            f"There is one {rules.folds_by} alone among {len(placed)} annotated sounds: folds need two."
        )
    if rules.folds_by != RECORDING and len(values) <= MOST_OWN_FOLDS:
        fold_of = {value: number for number, value in enumerate(sorted(values, key=_natural))}
        names = sorted(values, key=_natural)
    else:
        labels = sorted(frozenset().union(*(sound.labels for sound in placed)))
        targets = np.array([[label in sound.labels for label in labels] for sound in placed], dtype=bool)
        fold_of = assign_folds(np.array(groups), targets.reshape(len(placed), len(labels)), rules.folds)
        names = [str(number + 1) for number in range(max(fold_of.values()) + 1)]
    folds = np.array([fold_of[group] for group in groups])
    recordings = np.array([sound.recording for sound in placed])
    splits = []
    for number, name in enumerate(names):
        test = folds == number
        # A recording whose parts have different values of the field is in several folds
        train = ~test & ~np.isin(recordings, recordings[test])
        if test.any() and train.any():
            splits.append(Split(name, np.flatnonzero(train), np.flatnonzero(test)))
    if not splits:
        raise ConfigurationError(
            f"Each {rules.folds_by} shares recordings with all others, so nothing is left to learn from: "
            "choose another field by --folds-by."
        )
    return splits


def _groups(placed: Sequence[Placed], name: str) -> list[str]:
    if name == RECORDING:
        return [sound.recording for sound in placed]
    lacking = sum(sound.data.get(name) in (None, "") for sound in placed)
    if lacking:
        raise ConfigurationError(
            f"{lacking} of {len(placed)} annotated sounds have no field {name}: import it, or choose another "
            "by --folds-by."
        )
    return [str(sound.data[name]) for sound in placed]


def _natural(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
