"""Colours of labels that a label config sets."""

from __future__ import annotations

import pytest

from earmark.labels.label_colours import label_colours


@pytest.mark.parametrize(
    ("colour", "read"),
    [
        ("#e6a817", "#e6a817"),
        ("#FA0", "#FA0"),
        (" teal ", "teal"),
        ("", None),
        ("url(https://example.org/x)", None),
        ('red" onload="x', None),
        ("#12", None),
    ],
)
def test_only_plain_colours_are_taken(colour: str, read: str | None) -> None:
    quoted = colour.replace('"', "&quot;")
    config = (
        f'<View><Labels name="l" toName="a"><Label value="Owl" background="{quoted}"/></Labels>'
        '<Choices name="c" toName="a"><Choice value="Jay" background="blue"/></Choices>'
        '<Audio name="a" value="$audio" background="black"/></View>'
    )
    assert label_colours(config) == {"Jay": "blue"} | ({"Owl": read} if read else {})


@pytest.mark.parametrize("config", ["", "<View", "<View/>"])
def test_a_config_without_labels_has_none(config: str) -> None:
    assert label_colours(config) == {}
