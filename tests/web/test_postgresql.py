"""The pages on PostgreSQL: every query of theirs, on the same project as on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.page_data import KEY, seed_project
from earmark.api.app import create_app
from earmark.services import Services
from earmark.settings import Settings
from tests.postgres import SUPERUSER, make_database


@pytest.mark.slow
def test_every_page(postgres_cluster: int, settings: Settings, tmp_path: Path) -> None:
    name = make_database(postgres_cluster)
    url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{postgres_cluster}/{name}"
    on_postgresql = settings.model_copy(update={"database_url": url})
    with Services(on_postgresql) as services:
        services.database.upgrade()
        seed_project(services, tmp_path / "made", tasks=60, versions=30)
    with TestClient(create_app(on_postgresql)) as client:
        text = client.get(f"/projects/{KEY}").text
        for part in ("logmel-v30", "correction-1036", "uncertain-", "night-99.wav", "No space left", "run-1"):
            assert part in text
        for page in (
            "",
            "/label?control=label&label=Owl",
            "/tasks/5",
            "/serve?version=logmel-v3",
            "/rollback",
        ):
            assert client.get(f"/projects/{KEY}{page}").status_code == 200
        assert 'id="annotation-' in client.get(f"/projects/{KEY}/label?control=tags&label=Owl").text
        assert client.get("/").status_code == 200
