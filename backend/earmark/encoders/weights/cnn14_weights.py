"""CNN14's published weights: found locally, or downloaded once and verified. Nothing happens at import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from earmark.encoders.network import FailureNote, why_unreachable
from earmark.encoders.weights.custom_checkpoint import checkpoint_fault, validate
from earmark.encoders.weights.large_files import single_writer, size_of
from earmark.encoders.weights.resumable_download import RetryPolicy, Source, download, part_path
from earmark.encoders.weights.transfer_progress import Display, display
from earmark.errors import WeightsError
from earmark.extras import is_installed
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache

ZENODO = Source(
    url="https://zenodo.org/record/3987831/files/Cnn14_mAP%3D0.431.pth?download=1",
    size=327_428_481,
    sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
    name="Cnn14_mAP=0.431.pth",
)
"""Zenodo record 3987831, CC BY 4.0. The default source of all functions here."""

PATIENCE = RetryPolicy()

_log = structlog.get_logger(__name__)


def cache_path(settings: Settings, source: Source | None = None) -> Path:
    """Return the path of the cached checkpoint, downloaded or brought by hand."""
    return settings.data_dir.resolve() / "weights" / (source or ZENODO).name


def identity_of(digest: str) -> str:
    """Identity of the encoder whose checkpoint has this sha256."""
    return f"cnn14-{digest[:12]}"


def find_checkpoint(settings: Settings, source: Source | None = None) -> Path | None:
    """Return the local checkpoint: CNN14_CHECKPOINT, else the verified file in the cache.

    Where CNN14_CHECKPOINT is set and no good, only ``ENCODER=auto`` looks in the cache. A file in the
    cache whose digest is wrong counts as absent. It is hashed once, about a second, and again only when
    it changes.
    """
    source = source or ZENODO
    path = _where(settings, source)
    if path is None or not path.is_file():
        return None
    if path == settings.cnn14_checkpoint or _verified_digest(settings, source, path):
        return path
    _log.warning("checkpoint_damaged", path=str(path), help="it is fetched again, or delete it")
    return None


def validate_checkpoint(settings: Settings, source: Source | None = None, anew: bool = False) -> str | None:
    """Validate CNN14_CHECKPOINT, cached; return its digest, None if it is unset.

    With ``anew`` every byte is read, also where a digest is remembered.

    Raises
    ------
    WeightsError
        It is no file, cannot be read, or does not hold the weights of Cnn14.
    ConfigurationError
        The data folder cannot be written.
    """
    path = settings.cnn14_checkpoint
    if path is None:
        return None
    fault = checkpoint_fault(settings)
    if fault is not None and not (anew and path.is_file()):
        raise fault
    digest = checkpoint_digest(settings, path, anew)
    validate(settings, path, published=digest == (source or ZENODO).sha256, anew=anew)
    return digest


def checkpoint_digest(settings: Settings, path: Path, anew: bool = False) -> str:
    """Return the sha256 of a checkpoint, remembered beside the cache by path, size and time.

    With ``anew`` it is computed, also where one is remembered.

    Raises
    ------
    WeightsError
        The file cannot be read.
    ConfigurationError
        The data folder cannot be written.
    """
    try:
        return _notes(settings).digest_of(path.resolve(), anew)
    except OSError as error:
        raise WeightsError(
            f"The checkpoint {path} cannot be read ({error.strerror or error}): check its permissions."
        ) from error


def cheap_digest(settings: Settings, source: Source | None = None) -> str | None:
    """Return the local checkpoint's digest, cached; None without one.

    Raises
    ------
    WeightsError
        The file cannot be read.
    """
    if not is_installed("torch"):  # nothing could use it
        return None
    source = source or ZENODO
    path = _where(settings, source)
    if path is None or not path.is_file():
        return None
    if path == settings.cnn14_checkpoint:
        return checkpoint_digest(settings, path)
    return _verified_digest(settings, source, path)


def fetch_checkpoint(
    settings: Settings,
    source: Source | None = None,
    *,
    patience: RetryPolicy = PATIENCE,
    anew: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return the checkpoint, downloading it into the cache if it is missing.

    Two processes download once, and one that was killed is gone on with. A failure is remembered for
    ten minutes by every process of a data folder; a file that is brought by hand meanwhile is found
    all the same.

    Parameters
    ----------
    source
        What to fetch; ``ZENODO`` when None.
    patience
        How long to wait for what.
    anew
        Try also when it failed a moment ago.
    say
        Takes lines about the progress where there is no terminal; the log when None.

    Raises
    ------
    WeightsError
        CNN14_CHECKPOINT is no good, there is no network (known within 5 s), what the server sent
        several times is not the checkpoint, or the disk does not take it.
    """
    source = source or ZENODO
    checkpoint = find_checkpoint(settings, source)
    if checkpoint is not None:
        return checkpoint
    fault = checkpoint_fault(settings)
    if fault is not None:
        raise fault
    path = cache_path(settings, source)
    note = _failure_note(path)
    failure = None if anew else note.recall(source.url)
    if failure is None:
        with display(say) as shown, single_writer(path, part_path(source, path), source.size, shown):
            checkpoint = find_checkpoint(settings, source)  # another process may have been first
            failure = None if anew else note.recall(source.url)
            if checkpoint is None and failure is None:
                failure = _download(source, path, shown, patience)
                if failure is not None:
                    note.write(source.url, failure)
    if failure is not None:
        raise _not_fetched(source, path, failure)
    note.remove()
    checkpoint_digest(settings, path)  # remembered, so that the next start need not hash
    return path


def why_not_fetched(settings: Settings, source: Source | None = None) -> str | None:
    """Return the recent failure because of which no download is tried now, or None."""
    source = source or ZENODO
    return _failure_note(cache_path(settings, source)).recall(source.url)


def fetched_bytes(settings: Settings, source: Source | None = None) -> tuple[int, int]:
    """Return downloaded and total bytes of the weights."""
    source = source or ZENODO
    return size_of(part_path(source, cache_path(settings, source))), source.size


def _where(settings: Settings, source: Source) -> Path | None:
    """Return the path to look for weights; None if CNN14_CHECKPOINT is set and unusable."""
    if checkpoint_fault(settings) is None:
        return settings.cnn14_checkpoint or cache_path(settings, source)
    return cache_path(settings, source) if settings.encoder == "auto" else None


def _verified_digest(settings: Settings, source: Source, path: Path) -> str | None:
    """Return a cached file's digest, None if it is wrong."""
    if path.stat().st_size != source.size:
        return None
    digest = checkpoint_digest(settings, path)
    return digest if digest == source.sha256 else None


def _failure_note(path: Path) -> FailureNote:
    return FailureNote(path.with_name("fetching-failed.json"))


def _download(source: Source, path: Path, shown: Display, patience: RetryPolicy) -> str | None:
    """Download into the cache; returns the network's or server's failure."""
    shown.begin(f"looking for {source.host}")
    failure = why_unreachable(source.url, patience.probe_seconds)
    if failure is None:
        try:
            download(source, path, shown, patience)
        except ConnectionError as error:
            failure = str(error)
    return failure


def _not_fetched(source: Source, path: Path, reason: str) -> WeightsError:
    came = size_of(part_path(source, path))
    progress = f"; {came / 1e6:.0f} of {source.size / 1e6:.0f} MB came and are kept" if came else ""
    return WeightsError(
        f"CNN14's weights cannot be fetched ({reason}{progress}): run 'earmark weights' to try again, "
        f"or download {source.url} elsewhere and run 'earmark weights --from FILE' (or put it at "
        f"{path}), or set ENCODER=logmel to work without."
    )


def _notes(settings: Settings) -> JsonCache:
    return JsonCache(settings.data_dir.resolve() / "weights" / "digests")
