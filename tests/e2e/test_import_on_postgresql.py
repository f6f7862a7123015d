"""Two imports at once into a busy Label Studio on PostgreSQL: what was sent is there, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.import_tasks import label_studio
from benchmarks.import_under_load import CONFIG, Load, compare, make_source, records_in, run_imports
from tests.postgres import SUPERUSER, make_database

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLIPS = 40


@pytest.fixture(scope="module")
def server(postgres_cluster: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Any]]:
    """Address and client of a Label Studio on PostgreSQL."""
    database = f"postgresql://{SUPERUSER}@127.0.0.1:{postgres_cluster}/{make_database(postgres_cluster)}"
    with label_studio(tmp_path_factory.mktemp("on-postgresql"), database) as (url, client, _):
        yield url, client


def test_nothing_is_lost_and_nothing_is_made_twice(server: tuple[str, Any], tmp_path: Path) -> None:
    url, client = server
    (tmp_path / "label-config.xml").write_text(CONFIG)
    sources = [make_source(tmp_path / f"source{number}", CLIPS, seed=number) for number in range(2)]
    with Load(url, client, rate=5.0) as load:
        run_imports(url, sources, "Under load", tmp_path)
    assert load.written > 0
    found = compare(
        url, client, "Under load", [record for source in sources for record in records_in(source)]
    )
    assert not any(found.values()), found
