"""Two imports at once into a busy Label Studio on PostgreSQL: what was sent is there, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.import_under_load import CONFIG, Load, compare, make_source, records_in, run_imports
from tests.running import RunningLabelStudio

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLIPS = 40


def test_nothing_is_lost_and_nothing_is_made_twice(
    label_studio_on_postgresql: RunningLabelStudio, tmp_path: Path
) -> None:
    url, client = label_studio_on_postgresql.url, label_studio_on_postgresql.client
    (tmp_path / "label-config.xml").write_text(CONFIG)
    sources = [make_source(tmp_path / f"source{number}", CLIPS, seed=number) for number in range(2)]
    with Load(url, client, rate=5.0) as load:
        run_imports(url, sources, "Under load", tmp_path)
    assert load.written > 0
    faults = compare(
        url, client, "Under load", [record for source in sources for record in records_in(source)]
    )
    assert not any(faults.values()), faults
