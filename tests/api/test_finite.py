"""Responses are valid JSON (RFC 8259) even with NaN in rows stored by an earlier release."""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import text

from earmark.api.app import create_app
from earmark.head.model import Head
from earmark.services import Services
from earmark.store.events import pending_events
from earmark.store.projects import remember_project
from earmark.store.registry import list_versions, register_version
from tests.lessons import KEY, PROJECT, receive


def strict(body: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON: {body}")

    return json.loads(body, parse_constant=refuse)


def test_figures_that_are_not_finite_are_null(services: Services) -> None:
    identity = services.encoder_identity()
    with services.database.write() as session:
        remember_project(session, KEY)
        head = Head(identity, {}).to_bytes()
        register_version(session, KEY, "logmel", identity, head, {"tags": {"lwlrap": float("nan")}}, 1)
        register_version(session, KEY, "logmel", identity, head, {}, 1)
        # As an earlier release wrote it
        session.execute(text("""UPDATE versions SET metrics = '{"tags": {"ece": NaN}}' WHERE number = 2"""))
    with TestClient(create_app(services.settings)) as client:
        answer = strict(client.get("/versions", params={"project": KEY}).text)
        assert client.get("/").status_code == 200
        assert client.get("/metrics").status_code == 200
    assert [detail["metrics"] for detail in answer["details"]] == [
        {"tags": {"ece": None}},
        {"tags": {"lwlrap": None}},
    ]
    with services.database.read() as session:
        assert list_versions(session, KEY)[0].metrics == {"tags": {"ece": None}}


def test_numbers_of_webhooks_that_are_not_finite_are_null(services: Services) -> None:
    receive(services, {"action": "START_TRAINING", "project": {**PROJECT, "weight": float("inf")}})
    with services.database.read() as session:
        (event,) = pending_events(session, KEY)
    assert event.payload["project"]["weight"] is None
