"""Self-test of the installed machine: decode, predict, train, and use the database, Redis and shared frames.

Everything happens in a temporary folder, with clips that are generated; no project is touched. What is
configured elsewhere is only written to under names of its own, which are deleted again.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import redis
import soundfile
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from earmark.audio.decode import read
from earmark.encoders import encoder_identity, registry
from earmark.errors import BucketError, EarmarkError, RedisUnavailableError
from earmark.features.shared_store import frame_store
from earmark.features.store import EncodedSound
from earmark.jobs.redis_server import connect, redis_fault, server_command
from earmark.labels.config_changes import receive_webhook
from earmark.learning.training import learn
from earmark.monitoring.doctor.finding import Finding, Level
from earmark.monitoring.doctor.self_test_clips import (
    CONFIG,
    HERTZ,
    RATE,
    SECONDS,
    annotated,
    tone,
    write_formats,
)
from earmark.prediction.predictor import Predictor
from earmark.processes.supervisor import Child, supervised
from earmark.services import Services
from earmark.settings import Settings, environment_of
from earmark.store.database import Database

CLIPS = 20
KEY = "1.1767225600"
TOLERANCE_SECONDS = 0.1
SLOW_SECONDS = {
    "formats": 5.0,
    "new sound": 5.0,
    "training": 60.0,
    "known sound": 1.0,
    "database": 1.0,
    "Redis": 1.0,
    "frames": 5.0,
}
"""From here on, annotators would notice."""
REDIS_READY_SECONDS, REDIS_ANSWER_SECONDS = 20.0, 5.0


def self_test(settings: Settings) -> Iterator[Finding]:
    """Run all checks; a fault in one never hides another's."""
    with tempfile.TemporaryDirectory(prefix="earmark-self-test-") as name:
        folder = Path(name)
        temporary, note = _temporary_settings(settings, folder)
        if note:
            yield Finding("note", "encoder", note, "'earmark doctor' says how to get them.")
        yield from _formats(folder)
        yield from _learning(temporary, folder)
        yield from _explained("database", lambda: _database(settings, temporary))
        yield from _explained("Redis", lambda: _redis(settings, temporary, folder))
        yield from _explained("frames", lambda: _frames(settings, temporary))


def _temporary_settings(settings: Settings, folder: Path) -> tuple[Settings, str]:
    """Return the settings with all data in the folder, and a note where another encoder must stand in."""
    changes: dict[str, object] = {
        "data_dir": folder / "data",
        "database_url": None,
        "redis_url": None,
        "frames_url": None,
        "label_studio_url": None,
        "label_studio_api_key": None,
        "audio_roots": (folder,),
    }
    (folder / "data").mkdir()
    weights, note = settings.data_dir.resolve() / "weights", ""
    if weights.is_dir():
        (folder / "data" / "weights").symlink_to(weights)
    try:
        spec = registry.spec_of(encoder_identity(settings))
        missing = " and ".join(needed.title for needed in spec.absent(settings))
        changes["encoder"] = spec.name
    except EarmarkError as error:
        missing = str(error)
    if missing:
        changes["encoder"] = registry.auto_order()[-1].name  # which needs none
        note = f"tested with {changes['encoder']}, because weights are missing: {missing}"
    return settings.model_copy(update=changes), note


def _formats(folder: Path) -> Iterator[Finding]:
    started, decoded = time.monotonic(), []
    for name, written in write_formats(folder):
        if isinstance(written, Exception):
            yield Finding(
                "note", f"{name} format", f"not tested, because this machine cannot write it: {written}"
            )
            continue
        try:
            samples = read(written, RATE)
        except EarmarkError as error:
            yield Finding("fault", f"{name} format", str(error), "Install the packages anew: make setup.")
            continue
        level = float(np.sqrt(np.mean(samples[int(0.7 * RATE) : int(1.3 * RATE)] ** 2)))
        if abs(samples.size / RATE - SECONDS) > TOLERANCE_SECONDS or not 0.15 < level < 0.3:
            text = f"decoded to {samples.size / RATE:.2f} s instead of {SECONDS:g} s, level {level:.2f}"
            yield Finding("fault", f"{name} format", text, "Install the packages anew: make setup.")
        else:
            decoded.append(name)
    yield _timed("formats", f"{', '.join(decoded)} are decoded", time.monotonic() - started)


def _learning(settings: Settings, folder: Path) -> Iterator[Finding]:
    """Train on generated clips, and predict new ones: once from the sound, once from stored frames."""
    paths = []
    for number in range(CLIPS + len(HERTZ)):
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], tone(_label(number), number), RATE)
    try:
        with Services(settings) as services:
            services.database.upgrade()
            for number, path in enumerate(paths[:CLIPS]):
                with services.database.write() as session:
                    receive_webhook(session, annotated(number + 1, path, _label(number)))
            started = time.monotonic()
            training = learn(services, KEY)
            took = time.monotonic() - started
            if training is None or not training.version:
                detail = training.detail if training else "no training was made"
                yield Finding("fault", "training", detail, "Please report this, with the log.")
                return
            text = f"{training.version} from {CLIPS} clips, encoding included"
            yield _timed("training", text, took)
            predictor = Predictor(services)
            for subject in ("new sound", "known sound"):
                tasks = [{"id": n, "data": {"audio": str(paths[n])}} for n in range(CLIPS, len(paths))]
                started = time.monotonic()
                answer = predictor.predict(tasks, KEY, CONFIG)
                took = (time.monotonic() - started) / len(tasks)
                yield _predicted(subject, answer.items, took)
    except (EarmarkError, SQLAlchemyError) as error:
        yield Finding("fault", "training", str(error), "Please report this, with the log.")


def _predicted(subject: str, items: list[dict[str, object]], seconds: float) -> Finding:
    """Return whether each of the clips after the last annotated one got its own label."""
    for number, item in enumerate(items, start=CLIPS):
        if _label(number) not in str(item.get("result")):
            text = f"a tone that was annotated as {_label(number)} is not recognised"
            return Finding("fault", subject, text, "Please report this, with the name of the encoder.")
    return _timed(subject, f"predicted, as annotated; a clip of {SECONDS:g} s", seconds)


def _database(settings: Settings, temporary: Settings) -> str:
    """Write and read a temporary table, which the server drops with the connection."""
    database = Database(settings.sqlalchemy_url)
    if database.schema_state() == "empty":
        database.close()
        database = Database(temporary.sqlalchemy_url)
    with closing(database), database.write() as session:
        session.execute(text("CREATE TEMPORARY TABLE earmark_self_test (value INTEGER)"))
        session.execute(text("INSERT INTO earmark_self_test VALUES (1)"))
        value = session.scalar(text("SELECT value FROM earmark_self_test"))
        session.execute(text("DROP TABLE earmark_self_test"))
    if value != 1:
        raise EarmarkError("What was written to the database was not read back: check its server.")
    return "written and read"


def _redis(settings: Settings, temporary: Settings, folder: Path) -> str:
    """Write and read a key of its own, in the Redis that runs, else in a private one that is started."""
    fault = redis_fault(settings)
    if not fault:
        _write_to_redis(settings)
        return "written and read"
    if settings.redis_url is not None:
        raise RedisUnavailableError(fault)
    with supervised(folder / "run") as supervisor:
        child = Child("redis", server_command(temporary), environment_of(temporary), folder / "redis.log")
        supervisor.start(child)
        supervisor.wait_until(child, lambda: not redis_fault(temporary), REDIS_READY_SECONDS)
        _write_to_redis(temporary)
    return "a private one was started, written and read"


def _write_to_redis(settings: Settings) -> None:
    key = f"earmark:self-test:{uuid.uuid4().hex}"
    with closing(connect(settings, answer_seconds=REDIS_ANSWER_SECONDS)) as client:
        client.set(key, "1", ex=60)
        value = client.getdel(key)
    if value != b"1":
        raise EarmarkError("What was written to Redis was not read back: see its log.")


def _frames(settings: Settings, temporary: Settings) -> str:
    """Write and read frames under an identity of their own, in the folder or bucket of FRAMES_URL."""
    chosen = settings if settings.frames_url else temporary
    local = chosen.model_copy(update={"data_dir": temporary.data_dir})
    store, identity = frame_store(local), f"self-test-{uuid.uuid4().hex[:12]}"
    sound = EncodedSound(uuid.uuid4().hex * 2, 1.0, np.ones((3, 4), np.float16))
    try:
        store.save(sound, identity)
        loaded = store.load(sound.digest, identity)
    finally:
        store.remove(sound.digest, identity)
    if loaded is None or not np.array_equal(loaded.frames, sound.frames):
        raise EarmarkError("Frames that were written were not read back: check FRAMES_URL.")
    return f"written, read and deleted, {settings.frames_url or 'in a folder'}"


def _explained(subject: str, check: Callable[[], str]) -> Iterator[Finding]:
    """Run a check that returns what it did; its errors are faults."""
    started = time.monotonic()
    try:
        done = check()
    except (EarmarkError, BucketError, SQLAlchemyError, redis.RedisError, OSError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        yield Finding("fault", subject, reason, "'earmark doctor' says what is configured.")
    else:
        yield _timed(subject, done, time.monotonic() - started)


def _timed(subject: str, done: str, seconds: float) -> Finding:
    slow = seconds > SLOW_SECONDS[subject]
    level: Level = "note" if slow else "fine"
    remedy = f"Slow: more than {SLOW_SECONDS[subject]:g} s. See what else this machine does." if slow else ""
    return Finding(level, subject, f"{done}: {seconds:.2f} s", remedy)


def _label(number: int) -> str:
    return list(HERTZ)[number % len(HERTZ)]
