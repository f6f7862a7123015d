"""Validation of the file of CNN14_CHECKPOINT. Importing this imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from earmark.errors import WeightsError
from earmark.extras import is_installed, missing_extra
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache


def checkpoint_fault(settings: Settings) -> WeightsError | None:
    """Return what is wrong with CNN14_CHECKPOINT as far as it was validated; None if unset.

    Costs no more than a look at the file: what it holds is known once ``validate`` has run.
    """
    path = settings.cnn14_checkpoint
    if path is None:
        return None
    missing = missing_extra("torch", "CNN14_CHECKPOINT")
    if missing is not None:
        return WeightsError(str(missing))
    if not _is_file(path):
        return WeightsError(
            f"CNN14_CHECKPOINT is {path}, which is no file: correct it, or unset it to have the weights "
            "fetched."
        )
    if not os.access(path, os.R_OK):
        return WeightsError(f"CNN14_CHECKPOINT is {path}, which cannot be read: check its permissions.")
    fault = _known(settings, path)
    return WeightsError(fault) if fault else None


def is_validated(settings: Settings) -> bool:
    """Whether CNN14_CHECKPOINT was validated, or need not be."""
    path = settings.cnn14_checkpoint
    if path is None or not is_installed("torch"):
        return True
    return not _is_file(path) or _known(settings, path) is not None


def validate(settings: Settings, path: Path, *, published: bool = False, anew: bool = False) -> None:
    """Validate CNN14_CHECKPOINT, once for each size and modification time of the file.

    This imports torch, which takes seconds, where it is not known yet.

    Parameters
    ----------
    path
        The file, as the setting names it.
    published
        It has the digest of the published weights, so it need not be read.
    anew
        Read the file, also where a digest is remembered.

    Raises
    ------
    WeightsError
        It cannot be read, or does not hold the weights of Cnn14.
    ConfigurationError
        The data folder cannot be written.
    """
    fault = None if anew else _known(settings, path)
    if fault is None:
        fault, status = "", path.stat()
        if not published:
            from earmark.encoders.weights.cnn14_checkpoint import network_in

            try:
                network_in(path, mapped=True)
            except WeightsError as error:
                fault = str(error)
        _notes(settings).put_of(path.resolve(), status, fault=fault)
    if fault:
        raise WeightsError(fault)


def _known(settings: Settings, path: Path) -> str | None:
    """Return the stored fault of the file in its present state; empty if it has none."""
    try:
        fault = _notes(settings).get_of(path.resolve()).get("fault")
    except OSError:  # gone in this moment
        return None
    return fault if isinstance(fault, str) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may not be entered
        return False


def _notes(settings: Settings) -> JsonCache:
    return JsonCache(settings.data_dir.resolve() / "weights" / "looked-into")
