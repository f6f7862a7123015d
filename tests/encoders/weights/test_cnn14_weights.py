"""CNN14's weights: found, fetched once, verified; and which encoder follows from that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earmark.encoders as encoders
from earmark.encoders import choose_encoder, encoder_identity, get_encoder, registry, with_resolved_encoder
from earmark.encoders.background_fetch import fetch_better
from earmark.encoders.combination import combined_identity
from earmark.encoders.combined import CombinedEncoder
from earmark.encoders.logmel import LogmelEncoder
from earmark.encoders.weights import cnn14_weights
from earmark.errors import WeightsError
from earmark.settings import Settings
from tests.encoders.weights.zenodo import CONTENT, SHA256, Server, Zenodo, closed_port, source_at

IDENTITY = f"cnn14-{SHA256[:12]}"
BEST = "cnn14+logmel"
BEST_IDENTITY = combined_identity(BEST, [IDENTITY, LogmelEncoder.IDENTITY])
BAD = b"no weights"
ROOT = Path(__file__).parents[3]


class StandIn:
    """In the place of Cnn14Encoder, whose weights no test can have."""

    name = "cnn14"
    sample_rate, frame_rate, frame_dim, embedding_dim = 32_000, 3.125, 2048, 2048
    built = 0

    def __init__(
        self, checkpoint: Path, *, threads: int = 0, digest: str | None = None, **_how: object
    ) -> None:
        type(self).built += 1
        self.checkpoint, self.threads = checkpoint, threads
        self.identity = cnn14_weights.identity_of(digest or "")


def read_anything(checkpoint: Path, **_how: object) -> None:
    """In the place of ``network_in``: all but one content is as good as weights."""
    if checkpoint.read_bytes() == BAD:
        raise WeightsError(f"{checkpoint} does not hold the weights of Cnn14: CNN14_CHECKPOINT")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zenodo]:
    with Server() as running:
        monkeypatch.setattr(cnn14_weights, "ZENODO", running.zenodo.source)
        yield running.zenodo
        running.shutdown()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has decided nothing yet, small weights, and no way to the real ones."""
    monkeypatch.setattr(encoders, "_encoders", {})
    monkeypatch.setattr("earmark.encoders.cnn14.Cnn14Encoder", StandIn)
    monkeypatch.setattr("earmark.encoders.weights.cnn14_checkpoint.network_in", read_anything)
    StandIn.built = 0
    monkeypatch.setattr(cnn14_weights, "ZENODO", source_at(closed_port()))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def settings_in(folder: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **values)


def bring(settings: Settings, content: bytes = CONTENT) -> Path:
    path = cnn14_weights.cache_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_nothing_here(tmp_path: Path) -> None:
    assert cnn14_weights.find_checkpoint(settings_in(tmp_path)) is None


def test_a_file_brought_by_hand_is_found(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    path = bring(settings)
    assert cnn14_weights.find_checkpoint(settings) == path
    assert cnn14_weights.fetch_checkpoint(settings) == cnn14_weights.cache_path(settings)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", b""])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, server: Zenodo, content: bytes) -> None:
    settings = settings_in(tmp_path)
    bring(settings, content)
    assert cnn14_weights.find_checkpoint(settings) is None
    assert cnn14_weights.cheap_digest(settings) is None
    assert cnn14_weights.fetch_checkpoint(settings).read_bytes() == CONTENT
    assert server.request_count == 1


def test_a_checkpoint_of_ones_own_is_taken_as_it_is(tmp_path: Path, server: Zenodo) -> None:
    own = tmp_path / "mine.pth"
    settings = settings_in(tmp_path, cnn14_checkpoint=own)
    with pytest.raises(WeightsError, match="CNN14_CHECKPOINT"):
        cnn14_weights.fetch_checkpoint(settings)
    own.write_bytes(b"tuned")
    assert cnn14_weights.fetch_checkpoint(settings) == own
    assert server.request_count == 0


def test_large_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "mine.pth"
    own.write_bytes(b"tuned")
    settings = settings_in(tmp_path, cnn14_checkpoint=own, encoder="cnn14")
    first = encoder_identity(settings)
    assert first == f"cnn14-{hashlib.sha256(b'tuned').hexdigest()[:12]}"
    with monkeypatch.context() as patch:
        patch.setattr("earmark.storage.atomic_files.sha256_of", lambda path: pytest.fail("hashed again"))
        assert encoder_identity(settings) == first
    own.write_bytes(b"other")
    os.utime(own, (1, 1))
    assert encoder_identity(settings) != first


@pytest.mark.parametrize("content", [None, BAD])
def test_auto_looks_in_the_cache_behind_a_checkpoint_that_is_no_good(
    tmp_path: Path, server: Zenodo, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mine.pth"
    if content is not None:
        own.write_bytes(content)
    settings = settings_in(tmp_path, cnn14_checkpoint=own)
    assert choose_encoder(settings) == "logmel"
    output = "".join(capsys.readouterr())
    assert "encoder_fallback" in output
    assert "CNN14_CHECKPOINT" in output
    assert encoder_identity(settings) == LogmelEncoder.IDENTITY
    cached = bring(settings)
    assert choose_encoder(settings) == BEST
    assert "checkpoint_passed_over" in "".join(capsys.readouterr())
    assert encoder_identity(settings) == BEST_IDENTITY
    resolved = with_resolved_encoder(settings)
    assert (resolved.encoder, resolved.cnn14_checkpoint) == (BEST, cached)
    assert get_encoder(settings).identity == get_encoder(resolved).identity == BEST_IDENTITY
    assert server.request_count == 0, "what was named by hand is not replaced by a download"


@pytest.mark.parametrize("content", [None, BAD])
def test_cnn14_says_that_a_checkpoint_is_no_good(tmp_path: Path, content: bytes | None) -> None:
    own = tmp_path / "mine.pth"
    if content is not None:
        own.write_bytes(content)
    settings = settings_in(tmp_path, cnn14_checkpoint=own, encoder="cnn14")
    bring(settings)
    for ask in (choose_encoder, get_encoder, encoder_identity):
        with pytest.raises(WeightsError, match="CNN14_CHECKPOINT"):
            ask(settings)
    own.write_bytes(b"tuned")
    assert choose_encoder(settings) == "cnn14", "it was put right while this runs"


def test_choosing_without_a_checkpoint_of_ones_own_loads_no_torch(tmp_path: Path) -> None:
    bring(settings_in(tmp_path))
    code = (
        "import sys; from pathlib import Path; from earmark.encoders import choose_encoder\n"
        "from earmark.encoders.weights import cnn14_weights; from earmark.settings import Settings\n"
        "from earmark.encoders.weights.resumable_download import Source\n"
        "folder, size, sha256 = sys.argv[1:]; settings = Settings(_env_file=None, data_dir=Path(folder))\n"
        "cnn14_weights.ZENODO = Source('http://127.0.0.1:1/', int(size), sha256, 'cnn14.pth')\n"
        "assert choose_encoder(settings) == 'cnn14+logmel'; sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(len(CONTENT)), SHA256]
    subprocess.run(command, cwd=ROOT, check=True)


# --- which encoder -----------------------------------------------------------------------------


def test_auto_takes_cnn14_where_it_can_be_had(tmp_path: Path, server: Zenodo) -> None:
    settings = settings_in(tmp_path, torch_threads=3)
    encoder = get_encoder(settings)
    assert isinstance(encoder, CombinedEncoder)
    cnn14, _ = encoder.members
    assert isinstance(cnn14, StandIn)
    assert (cnn14.identity, cnn14.threads) == (IDENTITY, 3)
    assert get_encoder(settings_in(tmp_path, torch_threads=3)) is encoder
    assert encoder_identity(settings) == encoder.identity == BEST_IDENTITY


def test_the_better_encoder_is_fetched_beside_and_announced(
    tmp_path: Path, server: Zenodo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    yamnet_here = dataclasses.replace(
        registry.spec_of("yamnet").weights[0], here=lambda _: True, fetch=lambda _: tmp_path
    )
    light = dataclasses.replace(registry.spec_of("yamnet+logmel"), weights=(yamnet_here,))
    order = (registry.spec_of(BEST), light, registry.spec_of("logmel"))
    monkeypatch.setattr(registry, "auto_order", lambda: order)
    assert choose_encoder(settings) == "yamnet+logmel"
    assert server.request_count == 0
    announced = fetch_better(settings, "yamnet+logmel")
    assert server.request_count == 1
    assert BEST in announced
    assert "restart" in announced
    assert choose_encoder(settings) == BEST
    assert fetch_better(settings, BEST) == "", "nothing is better"
    named = settings_in(tmp_path / "other", encoder="yamnet+logmel")
    assert fetch_better(named, "yamnet+logmel") == "", "it was chosen by name"


def test_a_better_encoder_that_cannot_be_fetched_is_no_fault(tmp_path: Path) -> None:
    assert fetch_better(settings_in(tmp_path), "yamnet+logmel") == ""


def test_auto_falls_back_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = settings_in(tmp_path)
    encoder = get_encoder(settings)
    assert isinstance(encoder, LogmelEncoder)
    assert "encoder_fallback" in "".join(capsys.readouterr())
    assert encoder_identity(settings) == encoder.identity
    bring(settings)
    assert get_encoder(settings) is encoder, "a decision holds until the process ends"
    assert encoder_identity(settings) == encoder.identity


def test_cnn14_never_falls_back(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        get_encoder(settings_in(tmp_path, encoder="cnn14"))
    assert not (tmp_path / "encoder.json").exists()


def test_logmel_asks_nobody(tmp_path: Path, server: Zenodo) -> None:
    assert isinstance(get_encoder(settings_in(tmp_path, encoder="logmel")), LogmelEncoder)
    assert server.request_count == 0


def test_threads_get_the_same_encoder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, encoder="cnn14")
    bring(settings)
    gate = threading.Barrier(8)
    loaded: list[object] = []

    def ask() -> None:
        gate.wait()
        loaded.append(get_encoder(settings))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(encoder) for encoder in loaded}) == 1
    assert StandIn.built == 1


@pytest.mark.parametrize(
    ("encoder", "here", "decided", "expected"),
    [
        ("logmel", True, None, LogmelEncoder.IDENTITY),
        ("cnn14", True, None, IDENTITY),
        ("cnn14", False, None, IDENTITY),
        ("auto", True, None, BEST_IDENTITY),
        ("auto", True, LogmelEncoder.IDENTITY, BEST_IDENTITY),
        ("auto", False, None, LogmelEncoder.IDENTITY),
        ("auto", False, IDENTITY, IDENTITY),
        ("auto", False, LogmelEncoder.IDENTITY, LogmelEncoder.IDENTITY),
    ],
)
def test_identity_without_loading(
    tmp_path: Path, server: Zenodo, encoder: str, here: bool, decided: str | None, expected: str
) -> None:
    settings = settings_in(tmp_path, encoder=encoder)
    if here:
        bring(settings)
    if decided:
        (tmp_path / "encoder.json").write_text(json.dumps({"identity": decided}))
    assert encoder_identity(settings) == expected
    assert StandIn.built == server.request_count == 0


@pytest.mark.parametrize("content", ["", "[]", '{"identity": 3}', "{"])
def test_a_damaged_decision_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "encoder.json").write_text(content)
    assert encoder_identity(settings_in(tmp_path)) == LogmelEncoder.IDENTITY


def test_the_decision_outlives_the_process(
    tmp_path: Path, server: Zenodo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(tmp_path)
    get_encoder(settings)
    cnn14_weights.cache_path(settings).unlink()
    monkeypatch.setattr(encoders, "_encoders", {})
    assert encoder_identity(settings) == BEST_IDENTITY


def test_logmel_really_encodes(tmp_path: Path) -> None:
    encoder = get_encoder(settings_in(tmp_path, encoder="logmel"))
    frames = encoder.frames([np.zeros(encoder.sample_rate, np.float32)])
    assert frames.shape[1] == encoder.frame_dim
