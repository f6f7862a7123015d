"""Hearing one file before it is imported: what it is, and what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx
import numpy as np

from earmark.audio.decode import probe, read_blocks
from earmark.errors import EarmarkError, SoundNotFoundError, SoundUnreachableError
from earmark.importing.models import Facts, Listed
from earmark.importing.remote_sources import fetch_object, is_bucket, place_of_object
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache, sha256_of

Fault = Literal["unreadable", "silent", "short", "duplicate", "clipped", "beyond"]

CHECKS_VERSION = 1
"""Goes up when a fact is found out otherwise, so that remembered ones are found out anew."""
DIGITAL_SILENCE_DBFS = -200.0
FULL_SCALE = 0.9995
"""From this level on a sample counts as clipped; 16-bit recordings end at 0.99997."""
URL_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Checked:
    """One listed sound after hearing it: its facts and where it is, or why it cannot be used."""

    item: Listed
    facts: Facts | None = None
    path: Path | None = None
    why: str = ""


class Checker:
    """Hears files; unchanged ones that were heard before, also by an earlier run, are remembered.

    Parameters
    ----------
    keep_objects
        Whether copies of a bucket's objects are kept, to be uploaded; else they go once heard.
    """

    def __init__(self, settings: Settings, keep_objects: bool = False) -> None:
        self._keep_objects = keep_objects
        folder = settings.data_dir / "imports"
        self._notes = JsonCache(folder / "checks")
        self._objects = folder / "objects"
        self._settings = settings
        self._fetch: Callable[[str], Path] | None = None
        self._http: httpx.Client | None = None

    def check(self, item: Listed) -> Checked:
        """Hear one sound; what is missing or damaged is said in the answer, not raised."""
        try:
            if item.path is None and is_bucket(item.origin):
                return self._object(item)
            path = self._located(item)
            facts = self._facts(path, item.fname)
            if item.path is not None and item.address:
                self._confirm(item.address, facts.size)
            return Checked(item, facts, path)
        except (EarmarkError, OSError) as error:
            return Checked(item, why=str(error))

    def _located(self, item: Listed) -> Path:
        try:
            item.fname.encode("utf-8")
        except UnicodeEncodeError as error:
            raise SoundNotFoundError("The name is not UTF-8: rename the file.") from error
        if item.path is not None:
            return item.path
        if item.origin:
            self._fetch = self._fetch or fetcher(self._settings)
            return self._fetch(item.origin)
        raise SoundNotFoundError(
            "The path leads out of the folder of the sounds: set --audio-dir to one that it lies below, "
            "without '..'."
        )

    def _object(self, item: Listed) -> Checked:
        path = place_of_object(item.origin, self._objects)
        key = str(path)  # which has the version in it
        facts = self._remembered(key, 0, 0)
        if facts is None or (self._keep_objects and not path.is_file()):
            fetch_object(item.origin, path)
            facts = read_facts(path, item.fname)
            self._remember(key, facts, 0, 0)
        if not self._keep_objects:
            path.unlink(missing_ok=True)
        return Checked(item, facts, path)

    def _facts(self, path: Path, shown: str) -> Facts:
        if not path.is_file():  # `read_facts` says what is wrong
            return read_facts(path, shown)
        status, key = path.stat(), str(path.resolve())
        facts = self._remembered(key, status.st_size, status.st_mtime_ns)
        if facts is None:
            facts = read_facts(path, shown)
            self._remember(key, facts, status.st_size, status.st_mtime_ns)
        return facts

    def _remember(self, key: str, facts: Facts, size: int, mtime_ns: int) -> None:
        known = json.dumps(asdict(facts))
        self._notes.put(key, version=CHECKS_VERSION, size=size, mtime_ns=mtime_ns, facts=known)

    def _remembered(self, key: str, size: int, mtime_ns: int) -> Facts | None:
        note = self._notes.get(key)
        now = (CHECKS_VERSION, size, mtime_ns)
        if (note.get("version"), note.get("size"), note.get("mtime_ns")) != now:
            return None
        try:
            return Facts(**json.loads(str(note.get("facts"))))
        except (ValueError, TypeError):
            return None

    def _confirm(self, address: str, size: int) -> None:
        """Make sure that a local file is served at its address, too."""
        if not address.startswith(("http://", "https://")):
            return  # a bucket's address, which Label Studio's own storage signs
        self._http = self._http or httpx.Client(timeout=URL_TIMEOUT_SECONDS, follow_redirects=True)
        try:
            answer = self._http.head(address)
        except httpx.HTTPError as error:
            raise SoundUnreachableError(
                f"{address} cannot be reached ({error}): check --base-url."
            ) from error
        if not answer.is_success:
            raise SoundNotFoundError(f"{address} answers HTTP {answer.status_code}: check --base-url.")
        served = answer.headers.get("Content-Length", "")
        if served.isdecimal() and int(served) != size and "Content-Encoding" not in answer.headers:
            raise SoundNotFoundError(f"{address} has {served} bytes, the file here {size}: check --base-url.")


def fetcher(settings: Settings) -> Callable[[str], Path]:
    """Return what turns an address, also one that Label Studio serves, into a file on this machine."""
    # Here, because most imports check files of this machine alone, in processes that start the sooner.
    from earmark.audio.source import SoundSource
    from earmark.labelstudio.credentials import AccessBook

    source, access = SoundSource(settings), AccessBook(settings).for_project(None)
    return lambda address: source.locate(address, access).path


def read_facts(path: Path, shown: str) -> Facts:
    """Decode a whole file, in memory that its length does not change, and describe it.

    Raises
    ------
    SoundNotFoundError
        There is no such file.
    SoundUnreadableError
        It is empty, is not sound, is damaged anywhere, or holds no samples.
    OSError
        It may not be read.
    """
    info = probe(path, name=shown)
    peak, clipped, count = 0.0, 0, 0
    for block in read_blocks(path, info.sample_rate, name=shown):
        level = np.abs(block)
        peak = max(peak, float(level.max()))
        clipped += int(np.count_nonzero(level >= FULL_SCALE))
        count += block.size
    return Facts(
        sha256=sha256_of(path),
        size=path.stat().st_size,
        duration=count / info.sample_rate,
        sample_rate=info.sample_rate,
        channels=info.channels,
        peak_dbfs=round(20 * math.log10(peak), 2) if peak > 1e-10 else DIGITAL_SILENCE_DBFS,
        clipped=clipped / count,
    )
