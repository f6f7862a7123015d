"""Checks of an import before anything is written: its options, and the fields of its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from earmark.errors import ConfigurationError, LabelConfigError
from earmark.importing.models import STRETCH_FIELDS, Sound
from earmark.importing.time_expansion import Expansion
from earmark.labelstudio.projects import required_fields

Where = Literal["uploads", "local-files", "urls"]
"""Where the sounds of tasks are."""


def check_options(split_seconds: float | None, expansion: Expansion | None, where: Where) -> None:
    """Refuse options that make new files, where files are not uploaded."""
    if split_seconds is not None and where != "uploads":
        raise ConfigurationError(
            "--split cuts recordings into files that are uploaded: leave --local-files and --as-urls out, "
            "and add --upload for sounds that are elsewhere."
        )
    if expansion is not None and where != "uploads":
        raise ConfigurationError(
            "--time-expansion makes files that are uploaded: leave --local-files and --as-urls out, and add "
            "--upload for sounds that are elsewhere."
        )


def check_reserved_fields(sounds: Iterable[Sound], data_key: str) -> None:
    """Refuse extra columns that have the name of a field that the import writes."""
    for sound in sounds:
        taken = sound.fields.keys() & ({data_key} | (STRETCH_FIELDS if sound.stretch else frozenset()))
        if taken:
            raise ConfigurationError(
                f"The column {' and '.join(sorted(taken))} of {sound.listed_name} has the name of a field "
                "that the import writes itself: rename it; nothing was imported."
            )


def check_required_fields(config: str, where: Where, sounds: Sequence[Sound], data_key: str) -> None:
    """Refuse sounds without a field that the label config shows: Label Studio would refuse the tasks."""
    check_uploads_allowed(config, where)
    for name, tag in required_fields(config).items():
        lacking = [sound for sound in sounds if name != data_key and name not in sound.data()]
        if lacking:
            raise LabelConfigError(
                f"The project's label config shows a second field, ${name} ({tag}), beside the sound in "
                f"${data_key}, and {len(lacking)} of {len(sounds)} sounds have none, such as "
                f"{lacking[0].listed_name}: import a table with a column {name}, or take that tag out of "
                "the label config; nothing was imported."
            )


def check_uploads_allowed(config: str, where: Where) -> None:
    """Refuse uploads to a project with several fields: Label Studio accepts files only for a single one."""
    fields = [f"${name} ({tag})" for name, tag in required_fields(config).items()]
    if where == "uploads" and len(fields) > 1:
        raise LabelConfigError(
            f"The project's label config shows {len(fields)} fields of each task, {', '.join(fields)}, and "
            "Label Studio takes uploaded files only where there is one: import a table with a column for "
            "each of the others by --local-files or --as-urls, or take their tags out of the label config; "
            "nothing was imported."
        )
