"""Zero-shot head from CNN14's own classifier, and the doctor's report of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

import earmark.services
from earmark.encoders.audioset import audioset_labels
from earmark.encoders.base import Encoder, Tagger
from earmark.encoders.cnn14 import Cnn14Encoder
from earmark.encoders.logmel import LogmelEncoder
from earmark.head.model import Head
from earmark.head.zero_shot import NONE_OF_THESE, ZERO_SHOT_THRESHOLD, zero_shot_head
from earmark.labels.control import Control
from earmark.labels.control_types.base import ControlType
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config
from earmark.monitoring.doctor import examine
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.projects import remember_project

NAMES = audioset_labels()
WIDTH = 2048


class Tagging(LogmelEncoder):
    """An encoder that can tag, with a layer of our own."""

    name = "cnn14"
    identity = "cnn14-0123456789ab"

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.weights = rng.normal(0, 0.1, size=(WIDTH, 527)).astype(np.float32)
        self.bias = rng.normal(-3, 1, size=527).astype(np.float32)

    def class_layer(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.weights, self.bias


@pytest.fixture(scope="module")
def encoder() -> Tagging:
    return Tagging()


def embeddings() -> NDArray[np.float32]:
    return np.maximum(np.random.default_rng(2).normal(size=(50, WIDTH)), 0).astype(np.float32)


def tags(encoder: Tagging) -> NDArray[np.float64]:
    """CNN14's 527 probabilities, computed apart."""
    probabilities: NDArray[np.float64] = expit(
        embeddings().astype(np.float64) @ encoder.weights.astype(np.float64) + encoder.bias
    )
    return probabilities


def control(kind: ControlType, *labels: str, **hints: tuple[str, ...]) -> Control:
    return Control("x", "audio", kind, labels, "audio", hints)


@pytest.mark.parametrize("kind", [REGION_LABELS, MULTIPLE_CHOICE])
def test_probabilities_are_cnn14s_own(encoder: Tagging, kind: ControlType) -> None:
    wanted = tags(encoder)
    head = zero_shot_head(encoder, [control(kind, "Dog", "Xyzzy", "siren", siren=("Fire alarm", "Foghorn"))])
    assert head is not None
    assert head.identity == encoder.identity
    head_of_control = head.controls["x"]
    assert (head_of_control.labels, head_of_control.columns) == (("Dog", "siren"), (1, 3))
    classes = [NAMES.index(name) for name in ("Siren", "Fire alarm", "Foghorn")]
    expected = np.stack([wanted[:, NAMES.index("Dog")], wanted[:, classes].max(axis=1)], axis=1)
    assert np.abs(head_of_control.probabilities(embeddings()) - expected).max() < 1e-6
    assert (head_of_control.thresholds == np.float32(ZERO_SHOT_THRESHOLD)).all()
    assert Head.from_bytes(head.to_bytes()).to_bytes() == head.to_bytes()


def test_a_single_choice_is_taken_as_given_that_one_of_them_is_true(encoder: Tagging) -> None:
    wanted = tags(encoder)[:, [NAMES.index("Dog"), NAMES.index("Siren")]]
    # Independent events, exactly one of which happens: Bayes' rule, written out
    only = wanted * (1 - wanted[:, ::-1])
    head = zero_shot_head(encoder, [control(SINGLE_CHOICE, "Dog", "siren")])
    assert head is not None
    probabilities = head.controls["x"].probabilities(embeddings())
    assert np.abs(probabilities - only / only.sum(axis=1, keepdims=True)).max() < 1e-5

    # A label without a match takes the place of "neither of them"
    neither = (1 - wanted).prod(axis=1)
    head = zero_shot_head(encoder, [control(SINGLE_CHOICE, "Dog", "siren", "Xyzzy")])
    assert head is not None
    assert head.controls["x"].labels == ("Dog", "siren", NONE_OF_THESE)
    probabilities = head.controls["x"].probabilities(embeddings())
    assert np.abs(probabilities[:, 2] - neither / (neither + only.sum(axis=1))).max() < 1e-5


def test_nothing_matched_or_no_tagger_is_no_head(encoder: Tagging) -> None:
    logmel: Encoder = LogmelEncoder()
    assert not isinstance(logmel, Tagger)
    assert hasattr(Cnn14Encoder, "class_layer")
    assert zero_shot_head(logmel, [control(REGION_LABELS, "Dog")]) is None
    assert zero_shot_head(encoder, [control(REGION_LABELS, "Xyzzy")]) is None
    assert zero_shot_head(encoder, []) is None
    other = Control("y", "audio", MULTIPLE_CHOICE, ("Dog",), "audio")
    head = zero_shot_head(encoder, [control(REGION_LABELS, "Xyzzy"), other])
    assert head is not None
    assert list(head.controls) == ["y"]


def test_services_build_it_once_for_a_label_config(
    services: Services, encoder: Tagging, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = (control(REGION_LABELS, "Dog"),)
    assert services.zero_shot_head(controls) is None  # logmel, which is not even loaded
    monkeypatch.setattr(services, "encoder_identity", lambda: encoder.identity)
    monkeypatch.setattr(services, "encoder", lambda: encoder)
    built = []

    def build(*arguments: object) -> Head | None:
        built.append(arguments)
        return zero_shot_head(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(earmark.services, "zero_shot_head", build)
    first = services.head_for(None, controls)
    assert first is not None
    assert services.head_for(None, (control(REGION_LABELS, "Dog"),)) is first
    assert len(built) == 1
    hinted = services.head_for(None, (control(REGION_LABELS, "Dog", Dog=("Bark",)),))
    assert hinted is not None
    assert hinted.controls["x"].columns == (2,)
    nothing = (control(REGION_LABELS, "Xyzzy"),)
    assert services.head_for(None, nothing) is services.head_for(None, nothing) is None
    assert len(built) == 3


CONFIG = (
    '<View><Labels name="label" toName="audio"><Label value="Dog" predicted_values="Bark"/>'
    '<Label value="Xyzzy"/></Labels><Audio name="audio" value="$audio"/>'
    '<Choices name="tags" toName="audio"><Choice value="siren"/></Choices></View>'
)


def test_the_doctor_lists_matches_and_what_to_do_for_the_others(
    settings: Settings, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.encoders.weights.cnn14_checkpoint.network_in", lambda *_, **__: None)
    with services.database.write() as session:
        remember_project(session, "7.1", label_config=CONFIG)
        remember_project(session, "8.1", label_config="<View/>")
    silent = {finding.subject for finding in examine(settings)}
    assert "project 7 label" not in silent  # logmel knows no AudioSet

    checkpoint = tmp_path / "cnn14.pth"
    checkpoint.write_bytes(b"as good as weights")
    hearing = settings.model_copy(update={"encoder": "cnn14", "cnn14_checkpoint": checkpoint})
    by_subject = {finding.subject: finding for finding in examine(hearing)}
    assert by_subject["project 7 label"].level == "note"
    assert (
        by_subject["project 7 label"].text == "Dog -> Dog, Bark; no class of the encoder has the name: Xyzzy"
    )
    assert 'add predicted_values="…" to the Label' in by_subject["project 7 label"].remedy
    assert (by_subject["project 7 tags"].level, by_subject["project 7 tags"].text) == (
        "fine",
        "siren -> Siren",
    )
    assert by_subject["project 8 labels"].level == "fault"


def test_the_example_config_is_matched_but_for_one_label() -> None:
    from earmark.labels.class_matching import match_labels

    example = Path(__file__).parents[2] / "label_config.xml"
    for configured in parse_label_config(example.read_text()):
        assert set(match_labels(configured).unmatched) <= {"Bird chirp"}
