"""Installation of CNN14's weights from a local file, and verification of the cached ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from earmark.encoders.weights import cnn14_weights
from earmark.encoders.weights.large_files import (
    explained,
    remove_if_disk_full,
    replace_durably,
    require_space,
    single_writer,
)
from earmark.encoders.weights.resumable_download import RetryPolicy, Source, describe, is_web_page, part_path
from earmark.encoders.weights.transfer_progress import Display, display
from earmark.errors import WeightsError
from earmark.settings import Settings

_COPY_BYTES = 1 << 20


def bring_weights(
    settings: Settings,
    brought: Path | None,
    *,
    verify: bool,
    say: Callable[[str], None],
    source: Source | None = None,
    patience: RetryPolicy = cnn14_weights.PATIENCE,
) -> Iterator[str]:
    """Carry out ``earmark weights cnn14``; yields its results as sentences.

    Parameters
    ----------
    brought
        A copy to install; None fetches the weights where they are not here.
    verify
        Read what is here again.
    say
        Takes lines about the progress where there is no terminal.

    Raises
    ------
    WeightsError
        See ``fetch_checkpoint``, ``validate_checkpoint`` and ``install_checkpoint``.
    """
    source, own = source or cnn14_weights.ZENODO, settings.cnn14_checkpoint
    shown_identity = f"verified, encoder {cnn14_weights.identity_of(source.sha256)}"
    if brought is not None:
        path = install_checkpoint(settings, brought, source, say=say)
        yield f"CNN14's weights are installed at {path} ({shown_identity})."
        if own is not None:
            yield f"But CNN14_CHECKPOINT is {own} and goes before them: unset it to use these."
        return
    if own is not None:
        digest = cnn14_weights.validate_checkpoint(settings, source, anew=verify)
        kind = "the published weights" if digest == source.sha256 else "weights of your own"
        yield f"CNN14_CHECKPOINT is {own}: {kind}, sha256 {digest}; nothing is fetched."
        return
    path = cnn14_weights.cache_path(settings, source)
    if verify and path.is_file() and not verify_checkpoint(settings, source):
        say(f"{path} was damaged and is removed; it is fetched again.")
    if cnn14_weights.find_checkpoint(settings, source) is not None:
        yield f"CNN14's weights are here already: {path} ({shown_identity})."
        return
    cnn14_weights.fetch_checkpoint(settings, source, patience=patience, anew=True, say=say)
    yield f"CNN14's weights are fetched: {path} ({shown_identity})."


def install_checkpoint(
    settings: Settings, file: Path, source: Source | None = None, *, say: Callable[[str], None] | None = None
) -> Path:
    """Copy a local checkpoint into the cache, verified and atomically.

    Raises
    ------
    WeightsError
        It is not the checkpoint, is cut short, cannot be read, or the disk does not take it.
    """
    source = source or cnn14_weights.ZENODO
    path = cnn14_weights.cache_path(settings, source)
    part = part_path(source, path)
    _check_brought(file, source)
    with display(say) as shown, single_writer(path, part, source.size, shown):
        same = path.exists() and path.samefile(file)
        copy = path.with_name(f"{path.name}.copy")
        try:
            if not same:
                require_space(path.parent, source.size)
            digest = _copy(file, None if same else copy, shown)
            if digest != source.sha256:
                raise WeightsError(
                    f"{file} has the right size but not the right content (sha256 {digest[:12]}…, not "
                    f"{source.sha256[:12]}…): download {source.url} again."
                )
            if not same:
                replace_durably(copy, path)
            part.unlink(missing_ok=True)
        finally:
            copy.unlink(missing_ok=True)
    cnn14_weights.checkpoint_digest(settings, path)
    return path


def verify_checkpoint(settings: Settings, source: Source | None = None) -> bool:
    """Verify the cached file's digest; a wrong file is removed.

    Raises
    ------
    WeightsError
        The file cannot be read or removed.
    """
    source = source or cnn14_weights.ZENODO
    path = cnn14_weights.cache_path(settings, source)
    with display(_silent_display) as shown, explained(path.parent):
        if path.stat().st_size == source.size and _copy(path, None, shown) == source.sha256:
            return True
        path.unlink()
        return False


def _check_brought(file: Path, source: Source) -> None:
    """Reject early a file that cannot be the checkpoint."""
    again = f"download {source.url} again."
    try:
        with file.open("rb") as content:
            head = content.read(2048)
        size = file.stat().st_size
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}): correct the path.") from error
    if size == source.size:
        return
    if is_web_page(head):
        raise WeightsError(f"{file} is {describe(head)}, not {source.name}: {again}")
    if size < source.size:
        raise WeightsError(
            f"{file} is cut short, or another file: {size:,} of {source.size:,} bytes, so "
            f"{source.size - size:,} are missing: {again}"
        )
    raise WeightsError(f"{file} is another file: {size:,} bytes instead of {source.size:,}: {again}")


def _copy(file: Path, target: Path | None, shown: Display) -> str:
    """Copy a file, or only read it when ``target`` is None; returns the sha256 of its content."""
    digest, done = hashlib.sha256(), 0
    shown.begin(f"{'copying' if target else 'verifying'} {file.name}", 0, file.stat().st_size)
    with file.open("rb") as content:
        if target is None:
            while piece := content.read(_COPY_BYTES):
                digest.update(piece)
                shown.reach(done := done + len(piece))
            return digest.hexdigest()
        with remove_if_disk_full(target), target.open("wb") as copy:
            while piece := content.read(_COPY_BYTES):
                digest.update(piece)
                copy.write(piece)
                shown.reach(done := done + len(piece))
    return digest.hexdigest()


def _silent_display(line: str) -> None:
    """Progress display that shows nothing: reading a local file takes a second."""
