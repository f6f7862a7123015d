"""Connecting creates exactly one backend in Label Studio, also after failures and retries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from label_studio_sdk.core.api_error import ApiError

from benchmarks.simulated_label_studio import SimulatedLabelStudio, studio
from earmark.errors import LabelStudioError
from earmark.labelstudio.client import client_for
from earmark.labelstudio.connection import connect_backend
from earmark.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"
ADDRESS = "http://127.0.0.1:1"
INFO = "[Errno 111] Connection refused"
REFUSALS = {
    "cannot reach the backend": f"Can't connect to ML backend {ADDRESS}, health check failed. Make sure it "
    "is up and your firewall is properly configured. "
    '<a href="https://labelstud.io/guide/ml.html">Learn more</a> '
    f"about how to set up an ML backend. Additional info: {INFO}",
    "is no backend": f"Successfully connected to {ADDRESS} but it doesn't look like a valid ML backend. "
    "Reason: 404.\nCheck the ML backend server console logs to check the status.",
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false": "URL resolves to a reserved network address (block: 127.0.0.0/8)",
    "another reason": "For another reason, <b>this one</b>",
}
"""What `connect` says of each reason that Label Studio gives, in its own words."""


@pytest.mark.parametrize("sentence", REFUSALS)
def test_a_refused_address_is_one_sentence(
    sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ApiError(
            status_code=400,
            body={
                "id": "5b1c7b1e",
                "status_code": 400,
                "version": "1.20.0",
                "detail": "Validation error",
                "exc_info": None,
                "validation_errors": {"non_field_errors": [REFUSALS[sentence]]},
            },
        )

    with SimulatedLabelStudio(tmp_path, TOKEN) as running:
        project = running.create_project("Refused", "<View/>")
        settings = Settings(_env_file=None, label_studio_url=running.url, label_studio_api_key=TOKEN)
        client = client_for(settings)
        monkeypatch.setattr(type(client.ml), "create", refused)
        with pytest.raises(LabelStudioError) as error:
            connect_backend(client, running.url, project, ADDRESS, "logmel-v0")
    message = str(error.value)
    assert sentence in message
    assert not any(part in message for part in ("{", "exc_info", "<a", "<b>", "Learn more"))


def test_a_backend_that_was_saved_before_an_error_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under load: saved, and then the database was locked, so that the answer was a 500."""
    monkeypatch.setattr(studio, "ask", lambda *_: {"model_version": "logmel-v0"})
    connect = SimulatedLabelStudio.connect
    calls = []

    def saved_and_failed(self: SimulatedLabelStudio, fields: dict[str, Any]) -> None:
        calls.append(fields)
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
    assert len(calls) == 1
    assert (only.id, only.title, only.url) == (number, "logmel-v0", ADDRESS)
