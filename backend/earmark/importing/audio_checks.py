"""Audio check of one file before its import: decode it all, measure it, and cache the result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx
import numpy as np

from earmark.audio.band_energy import BandEnergy
from earmark.audio.decode import open_sound
from earmark.errors import EarmarkError, SoundNotFoundError, SoundUnreachableError
from earmark.importing.models import Facts, Listed
from earmark.importing.remote_sources import fetch_object, is_bucket, object_copy_path
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache, sha256_of
from earmark.tls import tls_context

Fault = Literal["unreadable", "silent", "short", "duplicate", "clipped", "beyond", "header", "band"]
FAULT_NAMES: Mapping[Fault, str] = {
    "unreadable": "unreadable",
    "silent": "silent",
    "short": "too short",
    "duplicate": "duplicates",
    "clipped": "clipped",
    "beyond": "with labels beyond their end",
    "header": "with a wrong length in the header",
    "band": "with sound outside the encoder's band",
}
"""What a count of files with a fault is called."""

CHECKS_VERSION = 3
"""Version of the cached facts: raise it when they are computed differently, to invalidate the cache."""
DIGITAL_SILENCE_DBFS = -200.0
FULL_SCALE = 0.9995
"""From this level on a sample counts as clipped; 16-bit recordings end at 0.99997."""
URL_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Checked:
    """Result of an audio check: the facts and path of a listed sound, or why it cannot be used."""

    item: Listed
    facts: Facts | None = None
    path: Path | None = None
    why: str = ""


class Checker:
    """Checks audio files; results are cached on disk by path, size and mtime, also across runs.

    Parameters
    ----------
    keep_objects
        Whether to keep the copies of a bucket's objects for an upload; else each is deleted once checked.
    """

    def __init__(self, settings: Settings, keep_objects: bool = False) -> None:
        self._keep_objects = keep_objects
        folder = settings.data_dir / "imports"
        self._cache = JsonCache(folder / "checks")
        self._objects = folder / "objects"
        self._settings = settings
        self._fetch: Callable[[str], Path] | None = None
        self._http: httpx.Client | None = None

    def check(self, item: Listed) -> Checked:
        """Check one sound; a missing or damaged file is reported in the result, not raised."""
        try:
            if item.path is None and is_bucket(item.origin):
                return self._check_object(item)
            path = self._locate(item)
            facts = self._local_facts(path, item.fname)
            if item.path is not None and item.address:
                self._check_served(item.address, facts.size)
            return Checked(item, facts, path)
        except (EarmarkError, OSError) as error:
            return Checked(item, why=str(error))

    def _locate(self, item: Listed) -> Path:
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

    def _check_object(self, item: Listed) -> Checked:
        path = object_copy_path(item.origin, self._objects)
        key = str(path)  # contains the version of the object
        facts = self._cached_facts(key, 0, 0)
        if facts is None or (self._keep_objects and not path.is_file()):
            fetch_object(item.origin, path)
            facts = read_facts(path, item.fname)
            self._cache_facts(key, facts, 0, 0)
        if not self._keep_objects:
            path.unlink(missing_ok=True)
        return Checked(item, facts, path)

    def _local_facts(self, path: Path, shown: str) -> Facts:
        if not path.is_file():  # `read_facts` raises the error
            return read_facts(path, shown)
        status, key = path.stat(), str(path.resolve())
        facts = self._cached_facts(key, status.st_size, status.st_mtime_ns)
        if facts is None:
            facts = read_facts(path, shown)
            self._cache_facts(key, facts, status.st_size, status.st_mtime_ns)
        return facts

    def _cache_facts(self, key: str, facts: Facts, size: int, mtime_ns: int) -> None:
        text = json.dumps(asdict(facts))
        self._cache.put(key, version=CHECKS_VERSION, size=size, mtime_ns=mtime_ns, facts=text)

    def _cached_facts(self, key: str, size: int, mtime_ns: int) -> Facts | None:
        entry = self._cache.get(key)
        current = (CHECKS_VERSION, size, mtime_ns)
        if (entry.get("version"), entry.get("size"), entry.get("mtime_ns")) != current:
            return None
        try:
            return Facts(**json.loads(str(entry.get("facts"))))
        except (ValueError, TypeError):
            return None

    def _check_served(self, address: str, size: int) -> None:
        """Check that a local file is also served at its address, with the same size."""
        if not address.startswith(("http://", "https://")):
            return  # the address of an object: Label Studio's storage signs it
        self._http = self._http or httpx.Client(
            timeout=URL_TIMEOUT_SECONDS, follow_redirects=True, verify=tls_context()
        )
        try:
            response = self._http.head(address)
        except httpx.HTTPError as error:
            raise SoundUnreachableError(
                f"{address} cannot be reached ({error}): check --base-url."
            ) from error
        if not response.is_success:
            raise SoundNotFoundError(f"{address} answers HTTP {response.status_code}: check --base-url.")
        served = response.headers.get("Content-Length", "")
        if served.isdecimal() and int(served) != size and "Content-Encoding" not in response.headers:
            raise SoundNotFoundError(f"{address} has {served} bytes, the file here {size}: check --base-url.")


def fetcher(settings: Settings) -> Callable[[str], Path]:
    """Return a function that downloads an address, also one that Label Studio serves, to a local file."""
    # Imported late: most imports check local files only, and their processes start sooner without these.
    from earmark.audio.source import SoundSource
    from earmark.labelstudio.credentials import AccessBook

    source, access = SoundSource(settings), AccessBook(settings).for_project(None)
    return lambda address: source.locate(address, access).path


def read_facts(path: Path, shown: str) -> Facts:
    """Decode a whole file block by block, in constant memory, and return its facts.

    Raises
    ------
    SoundNotFoundError
        The file does not exist.
    SoundUnreadableError
        The file is empty, is not audio, holds no samples, or is so damaged that what follows is out of step.
    OSError
        The file cannot be read, for example for lack of permission.
    """
    sound = open_sound(path, name=shown)
    peak, clipped, count = 0.0, 0, 0
    energy = BandEnergy(sound.rate)
    with closing(sound), closing(sound.blocks()) as blocks:
        for block in blocks:
            level = np.abs(block)
            peak = max(peak, float(level.max()))
            clipped += int(np.count_nonzero(level >= FULL_SCALE))
            count += block.size
            energy.add(block)
    outside = energy.outside()
    return Facts(
        sha256=sha256_of(path),
        size=path.stat().st_size,
        duration=count / sound.rate,
        sample_rate=sound.rate,
        channels=sound.channels,
        peak_dbfs=round(20 * math.log10(peak), 2) if peak > 1e-10 else DIGITAL_SILENCE_DBFS,
        clipped=clipped / count,
        remark=sound.remark,
        above_band=outside.above,
        below_band=outside.below,
    )
