"""``/docs`` loads all of its files from this machine."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from earmark.api.app import create_app
from earmark.settings import Settings


@pytest.mark.parametrize("login", [None, "secret"])
def test_docs_load_nothing_from_elsewhere(settings: Settings, login: str | None) -> None:
    changed = Settings(_env_file=None, **{**settings.model_dump(exclude_unset=True), "api_password": login})
    auth = ("earmark", login) if login else None
    with TestClient(create_app(changed)) as client:
        if login:
            assert client.get("/docs").status_code == 401
        page = client.get("/docs", auth=auth)
        assert page.status_code == 200
        loaded = re.findall(r'(?:src|href|url)\s*[=:]\s*["\']([^"\']+)["\']', page.text)
        assert len(loaded) == 4
        for address in loaded:
            full = urljoin("http://testserver/docs", address)
            assert urlsplit(full).netloc == "testserver"
            assert len(client.get(full, auth=auth).content) > 1000
        assert '"validatorUrl": null' in page.text
        assert client.get("/redoc", auth=auth).status_code == 404
