"""Site and time of a recording from the name that its recorder gave the file.

Names: ``20240517_043000.WAV`` (AudioMoth), ``2024-05-17T04_30_00``-like variants with a prefix of the
recorder (``SMM01234_20240517_043000.wav``, Song Meter), and ``5E90A4D4.WAV`` (AudioMoth until 2019:
seconds since 1970, hexadecimal).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from earmark.importing.models import Listed

SITE_FIELD, TIME_FIELD = "site", "recorded_at"
_NAME = re.compile(r"(?:(?P<recorder>.+?)[_-])?(?P<day>\d{8})[_T-]?(?P<time>\d{6})(?P<rest>Z|T|_.*|)")
_HEXADECIMAL = re.compile(r"[0-9A-F]{8}")
_FIRST_YEAR, _LAST_YEAR = 2000, 2100


def with_recorder_fields(sounds: Sequence[Listed]) -> tuple[list[Listed], int]:
    """Add the fields ``site`` and ``recorded_at`` where a name has a time; return how many have one.

    The site is the name of the file's folder in the source, else the recorder that the file's name begins
    with, else the name of the source's own folder. Fields that a table gives stay. Times are as the recorder
    has them, without a zone, except hexadecimal ones, which are UTC.
    """
    result, dated = [], 0
    hexadecimal = bool(sounds) and all(_hexadecimal_time(item.fname) for item in sounds)
    for item in sounds:
        path = PurePosixPath(item.fname)
        time, recorder = _hexadecimal_time(item.fname) if hexadecimal else None, ""
        if time is None:
            time, recorder = _time_of(path.stem)
        if time is None:
            result.append(item)
            continue
        dated += 1
        site = path.parent.name or recorder or (item.path.absolute().parent.name if item.path else "")
        fields = {TIME_FIELD: time, **({SITE_FIELD: site} if site else {}), **item.fields}
        result.append(replace(item, fields=fields))
    return result, dated


def _time_of(stem: str) -> tuple[str | None, str]:
    match = _NAME.fullmatch(stem)
    if match is None:
        return None, ""
    try:
        time = datetime.strptime(match["day"] + match["time"], "%Y%m%d%H%M%S")
    except ValueError:
        return None, ""
    if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        return None, ""
    return time.isoformat() + ("+00:00" if match["rest"] == "Z" else ""), match["recorder"] or ""


def _hexadecimal_time(fname: str) -> str | None:
    stem = PurePosixPath(fname).stem
    if not _HEXADECIMAL.fullmatch(stem):
        return None
    time = datetime.fromtimestamp(int(stem, 16), UTC)
    return time.isoformat() if _FIRST_YEAR <= time.year <= _LAST_YEAR else None
