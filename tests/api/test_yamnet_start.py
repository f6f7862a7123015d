"""A project on YAMNet before its first annotation: tags and regions of real sound by its labels' names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from earmark import encoders
from earmark.api.app import create_app
from earmark.encoders.weights.yamnet_weights import fetch_model
from earmark.errors import WeightsError
from earmark.settings import Settings

pytestmark = pytest.mark.slow

CONFIG = (
    '<View><Audio name="audio" value="$audio"/>'
    '<Labels name="label" toName="audio"><Label value="Car horn"/><Label value="Speech"/></Labels>'
    '<Choices name="tags" toName="audio" choice="single"><Choice value="Car horn"/><Choice value="Speech"/>'
    "</Choices></View>"
)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("yamnet"))
    try:
        return fetch_model(settings)
    except WeightsError as error:
        pytest.skip(f"YAMNet's weights cannot be had here: {error}")


@pytest.mark.parametrize("encoder", ["yamnet", "yamnet+logmel"])
@pytest.mark.parametrize(
    ("file", "label"),
    [
        ("car_horn/17-CAR-Rolls-Royce-Horn.wav", "Car horn"),
        ("human_voice/42-Human-Vocal-Voice-taxi-1_edit.wav", "Speech"),
    ],
)
def test_real_sound_is_found_by_the_names_of_the_labels(
    weights: Path,
    shared_audio: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: str,
    file: str,
    label: str,
) -> None:
    monkeypatch.setattr(encoders, "_encoders", {})
    target = tmp_path / "weights"
    target.mkdir()
    shutil.copy(weights, target)
    settings = Settings(_env_file=None, data_dir=tmp_path, encoder=encoder)
    task = {"id": 1, "data": {"audio": str(shared_audio / "foreground" / file)}}
    with TestClient(create_app(settings)) as client:
        body = {"tasks": [task], "project": "1.1795198673", "label_config": CONFIG}
        (item,) = client.post("/predict", json=body).json()["results"]
    assert item["model_version"] == f"{encoder}-v0"
    regions = [part["value"] for part in item["result"] if part["type"] == "labels"]
    assert [region["labels"] for region in regions] == [[label]]
    assert [part["value"]["choices"] for part in item["result"] if part["type"] == "choices"] == [[label]]
    assert item["probabilities"]["label"][label] > 0.9
