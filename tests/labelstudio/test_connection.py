"""Connecting creates exactly one backend in Label Studio, also after failures and retries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from benchmarks.simulated_label_studio import SimulatedLabelStudio, studio
from earmark.labelstudio.client import client_for
from earmark.labelstudio.connection import connect_backend
from earmark.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = "http://127.0.0.1:1"


def test_a_backend_that_was_saved_before_an_error_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under load: saved, and then the database was locked, so that the answer was a 500."""
    monkeypatch.setattr(studio, "ask", lambda *_: {"model_version": "logmel-v0"})
    connect = SimulatedLabelStudio.connect
    asked = []

    def saved_and_failed(self: SimulatedLabelStudio, fields: dict[str, Any]) -> None:
        asked.append(fields)
        connect(self, fields)
        raise HTTPException(500, "database is locked")

    monkeypatch.setattr(SimulatedLabelStudio, "connect", saved_and_failed)
    with SimulatedLabelStudio(tmp_path, TOKEN) as running:
        running.send = lambda _: None
        project = running.create_project("Connected", "<View/>")
        settings = Settings(_env_file=None, label_studio_url=running.url, label_studio_api_key=TOKEN)
        client = client_for(settings)
        number = connect_backend(client, running.url, project, ADDRESS, "logmel-v0")
        (only,) = client.ml.list(project=project)
    assert len(asked) == 1
    assert (only.id, only.title, only.url) == (number, "logmel-v0", ADDRESS)
