"""Two encoders over one data folder: nothing of one is ever used with the other, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from earmark import encoders
from earmark.api.app import create_app
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.weights.cnn14_weights import identity_of
from earmark.features.band_levels import BandLevelMeter
from earmark.features.extractor import FrameStore
from earmark.head.model import Head
from earmark.jobs.dispatcher import due_jobs
from earmark.learning.training import learn
from earmark.services import Services
from earmark.settings import Settings
from earmark.storage.atomic_files import sha256_of
from earmark.store.registry import active_version, list_versions, load_head

KEY = "1.1795198673"
PROJECT = {"id": 1, "created_at": "2026-11-20T18:17:53.833098Z"}
CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="Low"/><Choice value="High"/></Choices></View>'
)
TAUGHT, ASKED = 4, 2


class StandIn:
    """In the place of Cnn14Encoder: two numbers a frame, the sound's power below and above 1.5 kHz."""

    name = "cnn14"
    sample_rate = 32_000
    frame_rate = 3.125
    frame_dim = embedding_dim = 2
    heard: ClassVar[int] = 0

    def __init__(self, checkpoint: Path, *, digest: str | None = None, **_: object) -> None:
        self.identity = identity_of(digest or sha256_of(checkpoint))

    def frames(self, blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float16]:
        type(self).heard += 1
        wave = np.concatenate(list(blocks))
        wave = np.pad(wave, (0, -wave.size % 10_240)).reshape(-1, 10_240)
        power = np.abs(np.fft.rfft(wave)) ** 2
        split = 1500 * 10_240 // self.sample_rate
        bands = np.stack([power[:, :split].sum(1), power[:, split:].sum(1)], axis=1)
        levels: NDArray[np.float16] = np.log1p(bands).astype(np.float16)
        return levels

    def pool(self, frames: NDArray[np.floating]) -> NDArray[np.float32]:
        pooled: NDArray[np.float32] = frames.astype(np.float32).mean(axis=-2)
        return pooled


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has built no encoder yet."""
    monkeypatch.setattr(encoders, "_encoders", {})
    monkeypatch.setattr("earmark.encoders.cnn14.Cnn14Encoder", StandIn)
    monkeypatch.setattr("earmark.encoders.weights.cnn14_checkpoint.network_in", lambda *_, **__: None)
    StandIn.heard = 0


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Settings:
    """The same data folder, another encoder."""
    checkpoint = tmp_path / "tuned.pth"
    checkpoint.write_bytes(b"tuned weights")
    return settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": checkpoint})


@pytest.fixture
def tones(tmp_path: Path) -> list[dict[str, Any]]:
    """Tasks with a low or a high tone in quiet noise."""
    random = np.random.default_rng(7)
    tasks = []
    for number in range(TAUGHT + ASKED):
        label, hertz = (("Low", 300.0), ("High", 4000.0))[number % 2]
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(64_000) / 32_000)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave + 0.002 * random.standard_normal(wave.size), 32_000)
        tasks.append({"id": number + 1, "data": {"audio": str(path)}, "label": label})
    return tasks


@contextmanager
def backend_with(settings: Settings) -> Iterator[tuple[Services, TestClient]]:
    """A backend's services and its API."""
    with Services(settings) as services, TestClient(create_app(settings)) as client:
        services.database.upgrade()
        yield services, client


def teach(client: TestClient, task: dict[str, Any], updated_at: str = "2026-11-20T18:19:01Z") -> None:
    tags = {"from_name": "tags", "to_name": "audio", "type": "choices", "value": {"choices": [task["label"]]}}
    body = {
        "action": "ANNOTATION_CREATED",
        "annotation": {
            "id": 100 + task["id"],
            "task": task["id"],
            "result": [tags],
            "was_cancelled": False,
            "updated_at": updated_at,
        },
        "task": {"id": task["id"], "data": task["data"]},
        "project": {**PROJECT, "label_config": CONFIG},
    }
    assert client.post("/webhook", json=body).status_code == 201


def train(settings: Settings, tasks: list[dict[str, Any]]) -> str | None:
    """Annotate and learn; returns the version's name."""
    with backend_with(settings) as (services, client):
        for task in tasks:
            teach(client, task)
        training = learn(services, KEY)
        assert training is not None
        return training.version


def predict(settings: Settings, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    with backend_with(settings) as (_, client):
        answer = client.post("/predict", json={"tasks": tasks, "project": KEY, "label_config": CONFIG})
        assert answer.status_code == 200
        body: dict[str, Any] = answer.json()
        return body


def labels(answer: dict[str, Any]) -> list[list[str]]:
    return [[c for r in item["result"] for c in r["value"]["choices"]] for item in answer["results"]]


def frames_of(settings: Settings) -> dict[str, set[str]]:
    """Digests of the sounds with stored frames, by encoder identity; band levels belong to no encoder."""
    folders = (
        path for path in (settings.data_dir / "frames").iterdir() if path.name != BandLevelMeter.identity
    )
    return {path.name: {file.stem for file in path.rglob("*.frames")} for path in folders}


def test_switching_and_back_is_instant_and_loses_nothing(
    settings: Settings, other: Settings, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taught, open_tones = tones[:TAUGHT], tones[TAUGHT:]
    assert train(settings, taught) == "logmel-v1"
    first = predict(settings, open_tones)
    assert (first["model_version"], labels(first)) == ("logmel-v1", [["Low"], ["High"]])

    with backend_with(other) as (services, _):
        assert services.serving_version(KEY) is None, "a head of another encoder is no head"
        jobs = due_jobs(services.database, other, time.time())
        assert ("learn", KEY) in [(request.function, request.project_key) for request, _ in jobs]
    # Without any webhook, the new encoder learns from all annotations that there are.
    assert train(other, []) == "cnn14-v2"
    with backend_with(other) as (services, _):
        assert learn(services, KEY) is None, "once is enough"
    second = predict(other, open_tones)
    assert (second["model_version"], labels(second)) == ("cnn14-v2", [["Low"], ["High"]])
    digests = {sha256_of(Path(task["data"]["audio"])) for task in tones}
    identity = identity_of(sha256_of(other.cnn14_checkpoint or Path()))
    assert frames_of(settings) == {LogmelEncoder.IDENTITY: digests, identity: digests}
    assert StandIn.heard == len(tones)

    monkeypatch.setattr(LogmelEncoder, "frames", lambda *_: pytest.fail("heard again"))
    for _ in range(2):
        monkeypatch.setattr(encoders, "_encoders", {})  # as in a new process
        assert predict(settings, open_tones) == first
        assert predict(other, open_tones) == second
    assert StandIn.heard == len(tones)
    with backend_with(settings) as (services, _), services.database.read() as session:
        assert [version.name for version in list_versions(session, KEY)] == ["cnn14-v2", "logmel-v1"]
        assert all(version.active for version in list_versions(session, KEY))


def test_members_of_combinations_encode_each_sound_once(
    settings: Settings, other: Settings, tones: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one encoder to a combination with it, to the other member, and back."""
    taught, open_tones = tones[:TAUGHT], tones[TAUGHT:]
    both = other.model_copy(update={"encoder": "logmel+cnn14"})
    train(settings, taught)
    first = predict(settings, open_tones)
    before = {path: path.read_bytes() for path in (settings.data_dir / "frames").rglob("*.frames")}
    monkeypatch.setattr(LogmelEncoder, "frames", lambda *_: pytest.fail("encoded again"))
    assert train(both, []) == "cnn14+logmel-v2"
    second = predict(both, open_tones)
    assert (second["model_version"], labels(second)) == ("cnn14+logmel-v2", [["Low"], ["High"]])
    assert StandIn.heard == len(tones)

    assert train(other, []) == "cnn14-v3"
    assert labels(predict(other, open_tones)) == [["Low"], ["High"]]
    assert predict(settings, open_tones) == first
    monkeypatch.setattr(encoders, "_encoders", {})  # as in a new process
    assert predict(both, open_tones) == second
    assert StandIn.heard == len(tones)
    digests = {sha256_of(Path(task["data"]["audio"])) for task in tones}
    identity = identity_of(sha256_of(other.cnn14_checkpoint or Path()))
    assert frames_of(settings) == {LogmelEncoder.IDENTITY: digests, identity: digests}
    assert {path: path.read_bytes() for path in before} == before


def test_a_head_belongs_to_the_encoder_that_it_was_fitted_on(
    settings: Settings, other: Settings, tones: list[dict[str, Any]]
) -> None:
    train(settings, tones[:TAUGHT])
    train(other, tones[:1])
    with backend_with(settings) as (services, _), services.database.read() as session:
        for identity in frames_of(settings):
            version = active_version(session, KEY, identity)
            assert version is not None
            assert Head.from_bytes(load_head(session, version.id)).identity == identity
        assert active_version(session, KEY, "cnn14-000000000000") is None


def test_training_one_encoder_leaves_the_other_ones_version_alone(
    settings: Settings, other: Settings, tones: list[dict[str, Any]]
) -> None:
    train(settings, tones[:TAUGHT])
    train(other, tones[:1])
    assert train(other, tones[TAUGHT : TAUGHT + 1]) == "cnn14-v3"
    assert predict(settings, tones[TAUGHT:])["model_version"] == "logmel-v1"
    assert train(settings, tones[TAUGHT + 1 :]) == "logmel-v4"
    assert predict(other, tones[TAUGHT:])["model_version"] == "cnn14-v3"


def test_other_weights_of_the_same_encoder_are_another_encoder(
    settings: Settings, other: Settings, tones: list[dict[str, Any]], tmp_path: Path
) -> None:
    train(other, tones[:TAUGHT])
    again = tmp_path / "tuned-again.pth"
    again.write_bytes(b"weights tuned again")
    third = other.model_copy(update={"cnn14_checkpoint": again})
    with backend_with(third) as (services, _):
        assert services.serving_version(KEY) is None
    assert train(third, tones[:1]) == "cnn14-v2"
    assert len(frames_of(settings)) == 2
    assert predict(other, tones[TAUGHT:])["model_version"] == "cnn14-v1"
    again.rename(tmp_path / "moved.pth")
    moved = third.model_copy(update={"cnn14_checkpoint": tmp_path / "moved.pth"})
    assert predict(moved, tones[TAUGHT:])["model_version"] == "cnn14-v2", "the content counts, not the path"


def test_stored_frames_are_not_lent(settings: Settings, tones: list[dict[str, Any]]) -> None:
    train(settings, tones[:TAUGHT])
    store = FrameStore(settings.data_dir / "frames")
    digest = sha256_of(Path(tones[0]["data"]["audio"]))
    assert store.load(digest, LogmelEncoder.IDENTITY) is not None
    assert store.load(digest, "cnn14-000000000000") is None
