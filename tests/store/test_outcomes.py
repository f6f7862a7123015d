"""Outcomes of versions: sums that grow with each score, and that earlier releases' scores are added to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from earmark.services import Services
from earmark.storage.finite_json import dumps
from earmark.store.database import Database
from earmark.store.models import PredictionScore, VersionOutcome
from earmark.store.outcomes import EdgeMoves, edge_moves, latest_outcomes, list_outcomes
from earmark.store.scores import add_scores
from tests.postgres import SUPERUSER, make_database
from tests.store.test_migrations import migrate

KEY = "1.1795198673"


def distance(hits: float, extra: float, *edges: float, accepted: int = 0) -> dict[str, Any]:
    labels = {"Owl": {"found": hits, "missed": 0.0, "extra": extra}}
    return {"labels": labels, "substituted": 0.0, "suggested": 1, "accepted": accepted, "edges": list(edges)}


def score(annotation: int, task: int, version: str, **distances: Any) -> PredictionScore:
    return PredictionScore(
        project_key=KEY,
        annotation_id=annotation,
        task_id=task,
        version=version,
        source="computed",
        shown_at=float(annotation),
        scored_at=1.0,
        distances=distances,
    )


def outcomes(database: Database) -> dict[str, VersionOutcome]:
    with database.read() as session:
        return {outcome.version: outcome for outcome in latest_outcomes(session, KEY, 9)}


def test_sums_grow_with_each_score(services: Services) -> None:
    first = score(
        1, 1, "logmel-v1", label={**distance(2.0, 1.0, 0.02, 0.1), "confused": [["Owl", "Jay", 1.0]]}
    )
    with services.database.write() as session:
        add_scores(session, KEY, [first])
        # The same annotation again, the same task with a later version, and another task
        add_scores(session, KEY, [score(1, 1, "logmel-v1", label=distance(9.0, 9.0))])
        add_scores(session, KEY, [score(2, 1, "logmel-v2", label=distance(9.0, 9.0))])
        add_scores(
            session, KEY, [score(3, 2, "logmel-v1", label=distance(1.0, 0.0, 0.0304, 0.0, accepted=1))]
        )
        figures = list_outcomes(session, KEY)
    (outcome,) = outcomes(services.database).values()
    assert (outcome.annotations, outcome.suggested, outcome.accepted) == (2, 2, 1)
    assert outcome.labels == {"label": {"Owl": {"found": 3.0, "missed": 0.0, "extra": 1.0}}}
    assert outcome.confused == [["label", "Owl", "Jay", 1.0]]
    assert outcome.edges == {"20": 1, "100": 1, "30": 1, "0": 1}
    assert figures["logmel-v1"].edges == EdgeMoves(3 / 4, 0.03)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    url = f"sqlite:///{tmp_path / 'earmark.db'}"
    if request.param == "postgresql":
        port = request.getfixturevalue("postgres_cluster")
        url = f"postgresql+psycopg://{SUPERUSER}@127.0.0.1:{port}/{make_database(port)}"
    database = Database(url)
    yield database
    database.close()


def test_scores_of_earlier_releases_are_added_up(empty: Database) -> None:
    migrate(empty, "0014")
    stored = [(1, 1, "v1", distance(2.0, 1.0, 0.02)), (2, 2, "v1", distance(1.0, 0.0, accepted=1))]
    sums = "CAST(:sums AS JSON)" if empty.url.get_backend_name() == "postgresql" else ":sums"
    with empty.engine.begin() as connection:
        for annotation, task, version, figures in [*stored, (3, 2, "v2", distance(9.0, 9.0))]:
            row = {"key": KEY, "id": annotation, "task": task, "version": version}
            connection.execute(
                text(
                    "INSERT INTO prediction_scores (project_key, annotation_id, task_id, version, source,"
                    " shown_at, scored_at, distances)"
                    f" VALUES (:key, :id, :task, :version, 'task', :at, 1, {sums})"
                ),
                {**row, "at": float(annotation), "sums": dumps({"label": figures})},
            )
    empty.upgrade()
    (outcome,) = outcomes(empty).values()
    assert (outcome.version, outcome.annotations, outcome.accepted) == ("v1", 2, 1)
    assert outcome.labels["label"]["Owl"] == {"found": 3.0, "missed": 0.0, "extra": 1.0}
    assert outcome.edges == {"20": 1}
    with empty.read() as session:
        scores = session.query(PredictionScore).order_by(PredictionScore.annotation_id)
        assert [row.changed for row in scores] == [True, False, True]


def test_few_moved_edges_are_not_hidden_by_those_left_alone() -> None:
    assert edge_moves({"0": 12, "4": 4, "120": 1, "860": 2, "960": 1}) == EdgeMoves(0.2, 0.86)
    assert edge_moves({"0": 2}) == EdgeMoves(0.0, None)
    assert edge_moves({}) == EdgeMoves(None, None)
