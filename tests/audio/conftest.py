"""Fixtures: sound servers, and a downloader without pauses between retries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.audio import downloads
from earmark.audio.source import SoundSource
from tests.audio.sound_server import Server, server, settings_in, trickle

__all__ = ["server", "trickle"]


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before another attempt, and no proxy comes between."""
    monkeypatch.setattr(downloads, "BACK_OFF_SECONDS", (0.0, 0.0))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def source(tmp_path: Path) -> SoundSource:
    return SoundSource(settings_in(tmp_path))
