"""Property tests from our OpenAPI schema: no valid request causes a server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from earmark.api.app import create_app
from earmark.settings import Settings
from tests.examples import with_examples

pytestmark = pytest.mark.slow

READY = "/ready"
"""Answers 503 by design, where a part is missing."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("openapi"),
        encoder="logmel",
        train_debounce_seconds=1e9,
        train_max_wait_seconds=1e9,
        max_requests_per_second=1e9,
        log_level="ERROR",
        # Plain paths in invented tasks find nothing to open.
        audio_roots=str(tmp_path_factory.mktemp("sounds")),
    )
    app = create_app(settings)
    with TestClient(app):
        yield app


def test_no_request_is_a_server_error(app: FastAPI) -> None:
    """Valid requests and broken ones; schemathesis's own pytest plugin knows no pytest 9.2 yet."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path=READY)
    tried = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        tried.add(operation.path)
        takes_something = any(operation.iter_parameters()) or len(operation.body)
        for mode in GenerationMode if takes_something else (GenerationMode.POSITIVE,):

            @given(operation.as_strategy(generation_mode=mode))
            @with_examples(20, suppress_health_check=list(HealthCheck))
            def ask(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(checks=[not_a_server_error])

            ask()
    assert {"/predict", "/webhook", "/setup", "/versions", "/labels", "/metrics", "/suggest"} <= tried
