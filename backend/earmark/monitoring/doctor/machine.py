"""Checks of this machine: disk, database, Redis, workers, encoder, API."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import httpx
import redis
from sqlalchemy.exc import SQLAlchemyError

from earmark.encoders import encoder_identity, registry
from earmark.encoders.engines import plans_for
from earmark.encoders.weights import cnn14_weights
from earmark.errors import ConfigurationError, EarmarkError
from earmark.features.shared_store import frame_store
from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import connect, find_executable, redis_fault, redis_url
from earmark.monitoring.doctor.finding import Finding
from earmark.processes.stack import api_url
from earmark.settings import Settings, misspelled, without_password
from earmark.store.database import Database
from earmark.tls import tls_context

TIMEOUT_SECONDS = 5.0
LEAST_FREE_BYTES = 2 * 1024**3


def names(_settings: Settings) -> Iterator[Finding]:
    """Report variables that look like misspelled settings; no finding without any."""
    for name, setting in misspelled().items():
        yield Finding("note", "settings", f"{name} is no setting, so it is ignored", f"Is {setting} meant?")


def disk(settings: Settings) -> Iterator[Finding]:
    """Check that the data folder is writable and has free space."""
    folder = settings.data_dir.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".doctor"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        yield Finding(
            "fault",
            "data folder",
            f"{folder} cannot be written: {error}",
            "Set DATA_DIR to a folder of yours.",
        )
        return
    free = shutil.disk_usage(folder).free
    text = f"{folder}, {free / 1024**3:.1f} GiB free"
    if free < LEAST_FREE_BYTES:
        yield Finding("fault", "data folder", text, "Free some space, or set DATA_DIR to another disk.")
    else:
        yield Finding("fine", "data folder", text)


def frames(settings: Settings) -> Iterator[Finding]:
    """Check that frames can be stored; no finding where the data folder itself is not writable."""
    try:
        fault = frame_store(settings).probe()
    except ConfigurationError as error:
        yield Finding("fault", "frames", "FRAMES_URL cannot be used", str(error))
        return
    if fault and (settings.frames_url or settings.data_dir.is_dir()):
        yield Finding("fault", "frames", fault, "Answers come all the same, and take longer.")


def database(settings: Settings) -> Iterator[Finding]:
    """Check that the database answers, and which release has made it; nothing is changed."""
    try:
        database = Database(settings.sqlalchemy_url)
    except ConfigurationError as error:
        yield Finding("fault", "database", "it cannot be used", str(error))
        return
    shown = database.shown
    try:
        state = database.schema_state()
    except ConfigurationError as error:
        yield Finding("fault", "database", shown, str(error))
    except (SQLAlchemyError, OSError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        yield Finding(
            "fault", "database", f"{shown}: {reason}", "Check DATABASE_URL and that its server runs."
        )
    else:
        if state == "older":
            remedy = "Make a copy with 'earmark backup'; the start of the backend brings it up to date."
            yield Finding("note", "database", f"{shown} is of an earlier release", remedy)
        elif state == "empty" and not _may_be_made(database):
            yield Finding(
                "fault", "database", f"{shown} cannot be made", "Set DATA_DIR to a folder of yours."
            )
        else:
            yield Finding("fine", "database", shown + " (empty)" * (state == "empty"))
    finally:
        database.close()


def _may_be_made(database: Database) -> bool:
    if database.url.get_backend_name() != "sqlite" or not database.url.database:
        return True
    try:
        with tempfile.TemporaryFile(dir=Path(database.url.database).parent):
            return True
    except OSError:
        return False


def redis_answers(settings: Settings) -> Iterator[Finding]:
    """Check that Redis answers, or that a private one can be started."""
    url = without_password(redis_url(settings))
    fault = redis_fault(settings)
    if not fault:
        yield Finding("fine", "Redis", f"answers at {url}")
    elif settings.redis_url:
        yield Finding("fault", "Redis", fault, "Correct REDIS_URL, or unset it for a private one.")
    else:
        try:
            binary = find_executable()
        except EarmarkError as error:
            yield Finding("fault", "Redis", "none runs, none can be started", str(error))
        else:
            yield Finding("note", "Redis", f"not running; 'up' starts a private one ({binary})")


def workers(settings: Settings) -> Iterator[Finding]:
    """Check that each queue has a worker; no finding where Redis does not answer."""
    connection = connect(settings, answer_seconds=TIMEOUT_SECONDS)
    try:
        counts = {kind: live_workers(job_queue(connection, kind)) for kind in QueueKind}
    except redis.RedisError:
        return
    finally:
        connection.close()
    training, predicting = counts[QueueKind.LEARN], counts[QueueKind.PREDICT]
    text = f"{training} for trainings, {predicting} for fresh predictions and comparing"
    missing_queues = " ".join(f"--queue {kind}" for kind, count in counts.items() if not count)
    if not missing_queues:
        yield Finding("fine", "workers", text)
    else:
        consequence = (
            "nothing is trained"
            if not counts[QueueKind.LEARN]
            else "Label Studio's open tasks get nothing new"
        )
        yield Finding("fault", "workers", f"{text}, so {consequence}", f"earmark worker {missing_queues}")


def encoder(settings: Settings) -> Iterator[Finding]:
    """Report the encoder in use, and how to get missing weights. CNN14_CHECKPOINT is read, once."""
    fault = ""
    try:
        if registry.takes_checkpoint(settings.encoder):
            cnn14_weights.validate_checkpoint(settings)
    except EarmarkError as error:
        fault = str(error)
    try:
        identity = encoder_identity(settings)
        spec = registry.spec_of(identity)
    except EarmarkError as error:
        yield Finding("fault", "encoder", "the encoder cannot be used, so nothing is predicted", str(error))
        return
    text = _described(settings, spec, identity)
    absent, lacking = spec.absent(settings), _missing_weights(settings, spec)
    if fault:
        yield Finding(
            "fault", "encoder", f"CNN14_CHECKPOINT cannot be used, so {text} is used instead", fault
        )
    elif lacking:
        titles = " and ".join(missing.title for missing in lacking)
        remedy = " Without it: ".join(_weights_remedy(settings, missing) for missing in lacking)
        yield Finding("note", "encoder", f"{text}: the weights of {titles} are not here", remedy)
    elif absent:
        titles = " and ".join(missing.title for missing in absent)
        remedy = " ".join(_weights_remedy(settings, missing) for missing in absent)
        text = f"ENCODER={spec.name}, but the weights of {titles} are not here"
        yield Finding("fault", "encoder", text, remedy)
    elif not spec.class_names:
        more = " and ".join(registry.with_classes())
        yield Finding("note", "encoder", f"{text}, as ENCODER asks ({more} recognise far more)")
    else:
        yield Finding("fine", "encoder", text)
    if spec.takes_checkpoint and not absent:
        yield _engine(settings)


def plugins(_settings: Settings) -> Iterator[Finding]:
    """Report encoders from other packages, and why some cannot be used; no finding without any."""
    faults = registry.plugin_faults()
    usable = [name for name in registry.plugin_names() if name not in faults]
    if usable:
        yield Finding("fine", "encoder plug-ins", ", ".join(usable))
    for fault in faults.values():
        yield Finding("note", "encoder plug-in", fault, "Update or uninstall that package.")


def _described(settings: Settings, spec: registry.EncoderSpec, identity: str) -> str:
    """Describe an encoder, with its weights file and their licence."""
    checkpoint = cnn14_weights.find_checkpoint(settings) if spec.takes_checkpoint else None
    name = f"{spec.name} with {checkpoint} ({_megabytes(checkpoint)} MB)" if checkpoint else identity
    notes = [needed.licence for needed in spec.weights]
    if spec.cost is not None:
        notes.append(f"{spec.cost:.0f} ms for 10 s of sound")
    return f"{name} ({'; '.join(notes)})" if notes else name


def _missing_weights(settings: Settings, spec: registry.EncoderSpec) -> tuple[registry.WeightsSpec, ...]:
    """Return the missing weights of this encoder and better ones, each once, for ENCODER=auto."""
    if settings.encoder != registry.AUTO:
        return ()
    tried = (*takewhile(lambda other: other.name != spec.name, registry.auto_order()), spec)
    return tuple(dict.fromkeys(missing for other in tried for missing in other.absent(settings)))


def _weights_remedy(settings: Settings, missing: registry.WeightsSpec) -> str:
    """Return how to get missing weights."""
    command = f"{registry.weights_command(missing)} ({missing.megabytes} MB; {missing.licence})"
    if not missing.by_hand:
        return f"{command}."
    return f"{command}; by hand: {missing.by_hand(settings)}"


def api(settings: Settings) -> Iterator[Finding]:
    """Check that our own API answers on its port."""
    url = api_url(settings)
    try:
        started = time.perf_counter()
        answer = httpx.get(f"{url}/health", timeout=TIMEOUT_SECONDS, verify=tls_context())
        milliseconds = (time.perf_counter() - started) * 1000
    except httpx.HTTPError:
        yield Finding("note", "API", f"nothing answers at {url}", "earmark up")
        return
    if answer.headers.get("content-type", "").startswith("application/json") and "status" in answer.text:
        yield Finding("fine", "API", f"{url} answers in {milliseconds:.0f} ms")
    else:
        yield Finding("fault", "API", f"another program answers at {url}", "Set PORT to a free one.")


def access(settings: Settings) -> Iterator[Finding]:
    """Check that the API requires credentials, or listens on this machine only."""
    if settings.locked:
        methods = ["user and password"] * bool(settings.api_password) + ["token"] * bool(settings.api_token)
        yield Finding("fine", "access", f"with {' or '.join(methods)} only")
        if not settings.api_password:
            remedy = "Set API_PASSWORD as well, then: earmark connect PROJECT"
            yield Finding("fault", "access", "Label Studio cannot sign in with a token", remedy)
    elif settings.open_to_others:
        remedy = "Set API_PASSWORD here and for every process, then: earmark connect PROJECT"
        text = f"anyone who reaches {settings.bind}:{settings.port} is let in without a password"
        yield Finding("fault", "access", text, remedy)
    else:
        yield Finding("fine", "access", f"without a password, from this machine alone ({settings.bind})")


def _engine(settings: Settings) -> Finding:
    """Report the engine that will run CNN14, without loading it; one that fails later logs a warning."""
    try:
        best = plans_for(settings)[0]
    except ConfigurationError as error:
        return Finding("fault", "CNN14's engine", "nothing here does what is asked for", str(error))
    chosen = "CNN14_ENGINE" if settings.cnn14_engine != "auto" else "chosen by itself"
    return Finding("fine", "CNN14's engine", f"{best} ({chosen})")


def _megabytes(path: Path) -> int:
    return path.stat().st_size // 1_000_000
