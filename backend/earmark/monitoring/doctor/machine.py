"""Checks of this machine: disk, database, Redis, workers, encoder, API."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import redis
from sqlalchemy.exc import SQLAlchemyError

from earmark.encoders import encoder_identity, registry, weights
from earmark.encoders.engines import plans_for
from earmark.errors import ConfigurationError, EarmarkError
from earmark.features.shared_store import frame_store
from earmark.jobs.queue import job_queue, live_workers
from earmark.jobs.queues import QueueKind
from earmark.jobs.redis_server import answers, connect, find_executable, redis_url
from earmark.monitoring.doctor.finding import Finding
from earmark.processes.stack import api_url
from earmark.settings import Settings, without_password
from earmark.storage.token_cipher import TokenCipher
from earmark.store.database import Database

TIMEOUT_SECONDS = 5.0
LEAST_FREE_BYTES = 2 * 1024**3


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
    """Check that the database answers; migrate its schema to this release."""
    try:
        database = Database(settings.sqlalchemy_url, encrypt=TokenCipher(settings).encrypt)
    except ConfigurationError as error:
        yield Finding("fault", "database", "its folder cannot be made", str(error))
        return
    shown = database.url.render_as_string(hide_password=True)
    try:
        database.upgrade()
    except ConfigurationError as error:
        yield Finding("fault", "database", f"{shown}: its folder cannot be written", str(error))
    except (SQLAlchemyError, OSError) as error:
        yield Finding(
            "fault", "database", f"{shown}: {error}", "Check DATABASE_URL and that its server runs."
        )
    else:
        yield Finding("fine", "database", shown)
    finally:
        database.close()


def redis_answers(settings: Settings) -> Iterator[Finding]:
    """Check that Redis answers, or that a private one can be started."""
    url = without_password(redis_url(settings))
    if answers(settings):
        yield Finding("fine", "Redis", f"answers at {url}")
    elif settings.redis_url:
        yield Finding(
            "fault", "Redis", f"{url} does not answer", "Start it, or unset REDIS_URL for a private one."
        )
    else:
        try:
            binary = find_executable()
        except EarmarkError as error:
            yield Finding("fault", "Redis", "none runs, none can be started", str(error))
        else:
            yield Finding("note", "Redis", f"not running; 'up' starts a private one ({binary})")


def workers(settings: Settings) -> Iterator[Finding]:
    """Check that each queue has a worker; no finding where Redis does not answer."""
    connection = connect(settings)
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
    """Report the encoder in use, and how to get CNN14's weights. CNN14_CHECKPOINT is read, once."""
    if not registry.takes_checkpoint(settings.encoder):
        yield _named_encoder(settings, registry.spec_of(settings.encoder))
        return
    fault = ""
    try:
        weights.check_own(settings)
    except EarmarkError as error:
        fault = str(error)
    try:
        checkpoint = weights.find_checkpoint(settings)
        identity = encoder_identity(settings)
    except EarmarkError as error:
        yield Finding("fault", "encoder", "CNN14's weights cannot be used, so nothing is heard", str(error))
        return
    target = settings.data_dir.resolve() / "weights"
    remedy = (
        "Download Cnn14_mAP=0.431.pth from https://zenodo.org/record/3987831 and put it into "
        f"{target}, or set CNN14_CHECKPOINT to its path."
    )
    chosen = f"cnn14 with {checkpoint} ({_megabytes(checkpoint)} MB)" if checkpoint else identity
    if fault:
        yield Finding(
            "fault", "encoder", f"CNN14_CHECKPOINT cannot be used, so {chosen} hears instead", fault
        )
    elif checkpoint:
        yield Finding("fine", "encoder", chosen)
    elif settings.encoder == "cnn14":
        yield Finding("fault", "encoder", "ENCODER=cnn14, but its weights are not here", remedy)
    else:
        yield Finding("note", "encoder", f"{identity}: CNN14's weights are not here", _weights_remedy(remedy))
    if checkpoint:
        yield _engine(settings)


def _weights_remedy(cnn14_remedy: str) -> str:
    """Return how to get better weights than the present ones, for ENCODER=auto."""
    yamnet = registry.weights_of("yamnet")
    yamnet_remedy = f"'{registry.weights_command(yamnet)}' fetches {yamnet.title} ({yamnet.megabytes} MB)"
    return f"{cnn14_remedy} Without it, {yamnet_remedy}."


def _named_encoder(settings: Settings, spec: registry.EncoderSpec) -> Finding:
    """Check the weights of an encoder other than CNN14 that ENCODER names."""
    if spec.weights is None:
        return Finding(
            "note", "encoder", f"{spec.name}, as ENCODER asks (cnn14 and yamnet recognise far more)"
        )
    if spec.weights.here(settings):
        text = f"{encoder_identity(settings)} ({spec.weights.licence}; {spec.cost:.0f} ms for 10 s of sound)"
        return Finding("fine", "encoder", text)
    return Finding(
        "fault",
        "encoder",
        f"ENCODER={spec.name}, but its weights are not here",
        f"{registry.weights_command(spec.weights)} ({spec.weights.megabytes} MB; {spec.weights.licence})",
    )


def api(settings: Settings) -> Iterator[Finding]:
    """Check that our own API answers on its port."""
    url = api_url(settings)
    try:
        started = time.perf_counter()
        answer = httpx.get(f"{url}/health", timeout=TIMEOUT_SECONDS)
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
        text = f"whoever reaches {settings.bind}:{settings.port} is let in without a password"
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
