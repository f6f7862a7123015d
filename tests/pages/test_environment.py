"""Formats of the templates, and that values are escaped."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from earmark.pages.environment import ago, clock, listed, percent, render


def test_ago() -> None:
    assert [ago(s) for s in (-1, 3, 90, 7200, 200_000)] == [
        "0 s ago",
        "3 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]


def test_numbers() -> None:
    assert [clock(seconds) for seconds in (2.345, 62.4, 3602.0)] == ["2.35 s", "1:02.4", "1:00:02"]
    assert [clock(seconds) for seconds in (59.997, 119.97, 7199.7)] == ["1:00.0", "2:00.0", "2:00:00"]
    assert [percent(None), percent(0.995)] == ["–", "100 %"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]


def test_values_are_escaped_and_none_may_be_missing() -> None:
    values = {"root": "./", "version": "1", "key": "", "title": "<b>", "text": "<script>"}
    html = render("message.html", **values)
    assert "&lt;script&gt;" in html
    assert "<b>&lt;b&gt;" not in html
    with pytest.raises(UndefinedError):
        render("message.html", root="./", version="1")
