"""Wheel downloads: files of the package index, fetched with pip, verified by sha256, never installed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from earmark.settings import without_password
from earmark.storage.atomic_files import sha256_of

PIP_SECONDS = 300.0
"""Longest that pip may take for some megabytes, its own retries included."""
_REASON_CHARACTERS = 200


@dataclass(frozen=True)
class Wheel:
    """A published wheel: the requirement as pip takes it, the file's name, size in bytes, and sha256."""

    requirement: str
    name: str
    size: int
    sha256: str


class WheelNotFetchedError(Exception):
    """Pip did not bring the wheel that was asked for; the text says why, and ends without a stop."""


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with pip, from the index that pip is configured for; returns the verified file.

    Raises
    ------
    WheelNotFetchedError
        There is no network, the index lacks the wheel, or sends another one.
    OSError
        pip cannot be started.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "1"]
    try:
        ended = subprocess.run(
            [*command, "--dest", str(folder), wheel.requirement],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WheelNotFetchedError(f"pip did not end within {PIP_SECONDS:.0f} s") from error
    if ended.returncode != 0:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        faults = [line for line in lines if line.startswith("ERROR:")] or lines or ["it gave no reason"]
        reason = without_password(faults[-1].removeprefix("ERROR:").strip())
        raise WheelNotFetchedError(f"pip: {reason[:_REASON_CHARACTERS]}")
    file = folder / wheel.name
    if not file.is_file():
        raise WheelNotFetchedError(f"pip brought no file {wheel.name}")
    fault = wheel_fault(file, wheel)
    if fault:
        raise WheelNotFetchedError(f"what the package index sent {fault}")
    return file


def wheel_fault(file: Path, wheel: Wheel) -> str:
    """Return the fault of a wheel as the end of a sentence about it; empty without any."""
    try:
        size = file.stat().st_size
        if size != wheel.size:
            return f"has {size:,} bytes instead of {wheel.size:,}"
        digest = sha256_of(file)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if digest != wheel.sha256:
        return f"has another content (sha256 {digest[:12]}… instead of {wheel.sha256[:12]}…)"
    return ""
