"""What the page shows: sums of scores by version, corrections, certainty of open tasks, sounds by task."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from earmark.storage.finite_json import loads

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 1000
MOVED_SECONDS = 0.005


def upgrade() -> None:
    op.create_table(
        "version_outcomes",
        sa.Column("project_key", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(128), primary_key=True),
        sa.Column("annotations", sa.Integer(), nullable=False),
        sa.Column("suggested", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("edge_error_seconds", sa.Double(), nullable=True),
        sa.Column("last_shown_at", sa.Double(), nullable=False),
        sa.Column("edges", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("confused", sa.JSON(), nullable=False),
    )
    with op.batch_alter_table("prediction_scores", schema=None) as batch_op:
        batch_op.add_column(sa.Column("changed", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("seconds_open", sa.Double(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("predicted", sa.JSON(), nullable=True))
    with op.batch_alter_table("prediction_writes", schema=None) as batch_op:
        batch_op.add_column(sa.Column("score", sa.Double(), nullable=True))
    with op.batch_alter_table("sound_faults", schema=None) as batch_op:
        batch_op.add_column(sa.Column("project_key", sa.String(64), nullable=True))
        batch_op.add_column(sa.Column("task_id", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_annotations_task", "annotations", ["project_key", "task_id", "deleted", "was_cancelled"]
    )
    op.create_index("ix_prediction_writes_score", "prediction_writes", ["project_key", "score"])
    op.create_index("ix_prediction_scores_task", "prediction_scores", ["project_key", "task_id"])
    op.create_index(
        "ix_prediction_scores_changed", "prediction_scores", ["project_key", "changed", "shown_at"]
    )
    op.create_index("ix_sound_faults_project", "sound_faults", ["project_key", "seen_at"])
    _sum_up(op.get_bind())


def downgrade() -> None:
    op.drop_index("ix_sound_faults_project", "sound_faults")
    op.drop_index("ix_prediction_scores_changed", "prediction_scores")
    op.drop_index("ix_prediction_scores_task", "prediction_scores")
    op.drop_index("ix_prediction_writes_score", "prediction_writes")
    op.drop_index("ix_annotations_task", "annotations")
    with op.batch_alter_table("sound_faults", schema=None) as batch_op:
        batch_op.drop_column("task_id")
        batch_op.drop_column("project_key")
    with op.batch_alter_table("prediction_writes", schema=None) as batch_op:
        batch_op.drop_column("score")
    with op.batch_alter_table("prediction_scores", schema=None) as batch_op:
        for name in ("predicted", "seconds_open", "changed"):
            batch_op.drop_column(name)
    op.drop_table("version_outcomes")


def _sum_up(connection: sa.Connection) -> None:
    """Add up the scores of earlier releases by version, and mark those of corrections."""
    scores = sa.table(
        "prediction_scores",
        *(sa.column(name) for name in ("project_key", "annotation_id", "task_id", "version", "shown_at")),
        sa.column("distances", sa.JSON()),
        sa.column("changed", sa.Boolean()),
    )
    first: dict[tuple[str, int], str] = {}
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    query = sa.select(
        scores.c.project_key, scores.c.annotation_id, scores.c.task_id, scores.c.version, scores.c.shown_at,
        sa.cast(scores.c.distances, sa.Text()),
    ).order_by(scores.c.shown_at, scores.c.annotation_id)  # fmt: skip
    changed: list[dict[str, Any]] = []
    for key, annotation, task, version, shown_at, text in connection.execute(query).all():
        distances = loads(text) if isinstance(text, str) else text
        if any(_is_changed(distance) for distance in distances.values()):
            changed.append({"key": key, "annotation": annotation})
        if first.setdefault((key, task), version) == version:
            _add(sums.setdefault((key, version), _empty()), distances, shown_at)
    mark = sa.text(
        "UPDATE prediction_scores SET changed = :yes WHERE project_key = :key AND annotation_id = :annotation"
    )
    for start in range(0, len(changed), ROWS_AT_ONCE):
        connection.execute(mark, [{**row, "yes": True} for row in changed[start : start + ROWS_AT_ONCE]])
    # Typed, as PostgreSQL takes no text for JSON
    names = ("project_key", "version", "annotations", "suggested", "accepted", "edge_error_seconds")
    outcomes = sa.table(
        "version_outcomes",
        *(sa.column(name) for name in (*names, "last_shown_at")),
        *(sa.column(name, sa.JSON()) for name in ("edges", "labels", "confused")),
    )
    for (key, version), total in sums.items():
        edge_error = _median(total["edges"])
        row = {
            **total,
            "project_key": key,
            "version": version,
            "edge_error_seconds": edge_error,
            "confused": [],
        }
        connection.execute(sa.insert(outcomes).values(row))


def _empty() -> dict[str, Any]:
    return {"annotations": 0, "suggested": 0, "accepted": 0, "last_shown_at": 0.0, "edges": {}, "labels": {}}


def _add(total: dict[str, Any], distances: dict[str, Any], shown_at: float) -> None:
    total["annotations"] += 1
    total["last_shown_at"] = max(total["last_shown_at"], shown_at)
    for control, distance in distances.items():
        total["suggested"] += distance.get("suggested", 0)
        total["accepted"] += distance.get("accepted", 0)
        for seconds in distance.get("edges", []):
            place = f"{float(f'{1000 * seconds:.2g}'):g}"
            total["edges"][place] = total["edges"].get(place, 0) + 1
        for label, parts in distance["labels"].items():
            summed = total["labels"].setdefault(control, {}).setdefault(label, {})
            for part, value in parts.items():
                summed[part] = summed.get(part, 0.0) + value


def _is_changed(distance: dict[str, Any]) -> bool:
    missed = sum(parts["missed"] for parts in distance["labels"].values())
    return bool(distance.get("accepted", 0) < distance.get("suggested", 0) or missed > 2 * MOVED_SECONDS)


def _median(edges: dict[str, int]) -> float | None:
    seen, total = 0, sum(edges.values())
    for milliseconds, count in sorted((float(place), count) for place, count in edges.items()):
        seen += count
        if 2 * seen >= total:
            return milliseconds / 1000
    return None
