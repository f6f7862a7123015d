"""The learning curve's data: one point for each version, with gaps where nothing is known."""

from __future__ import annotations

from earmark.web.curve import TREND_SUGGESTIONS, accepted_lately, curve_data, curve_sentence
from earmark.web.version_points import Measured, VersionPoint, measured


def point(number: int, suggested: int = 0, accepted: int = 0, quality: float | None = None) -> VersionPoint:
    return VersionPoint(
        number,
        number,
        f"v{number}",
        "e",
        10 * number,
        0.0,
        "served",
        "",
        Measured(quality, {}),
        suggested,
        accepted,
    )


def test_points_and_gaps() -> None:
    data = curve_data([point(0, 4, 1), point(1), point(2, 4, 3, 0.75)])
    assert (data["x"], data["names"]) == ([0, 10, 20], ["v0", "v1", "v2"])
    assert data["accepted"] == [0.25, None, 0.75]
    assert data["trend"] == [0.25, 0.25, 0.5]
    assert data["quality"] == [None, None, 0.75]
    assert curve_sentence([]) == ""
    assert "25 % at first, 50 % now" in curve_sentence([point(0, 4, 1), point(2, 4, 3)])


def test_what_was_long_ago_does_not_count() -> None:
    assert accepted_lately([point(1, 1000, 0), point(2, TREND_SUGGESTIONS, TREND_SUGGESTIONS)]) == 1.0
    assert accepted_lately([point(1)]) is None


def test_figures_of_a_version_that_lacks_some() -> None:
    metrics = {
        "tags": {"accuracy": 0.9, "f1": 0.1, "per_class": {"Owl": {"f1": 0.8}, "Jay": {"ap": 0.3}}},
        "label": {"f1": 0.5},
        "odd": "text",
        "none": {"f1": None},
    }
    figures = measured(metrics, {"label": {"effort_ratio": 0.4}, "tags": {}, "odd": None})
    assert figures.quality == 0.7
    assert figures.classes == {("tags", "Owl"): 0.8}
    assert figures.effort == 0.4
    assert measured({}) == Measured(None, {})
