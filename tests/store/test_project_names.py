"""Project lookup by key, number or title."""

from __future__ import annotations

import pytest

from earmark.errors import ProjectNameError
from earmark.store.project_names import Named, matching, only_one

PROJECTS = [
    Named("1.5", "Owls", "owls"),
    Named("2.5", "owls", "small owls"),
    Named("3.5", "Käuze\u0301", "accents"),
    Named("4.5", "3", "a number as its title"),
    Named("5.5", "Frogs", "frogs"),
    Named("6.5", "Frogs", "other frogs"),
    Named("7.5", "", "untitled"),
]


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("1.5", ["owls"]),
        ("1", ["owls"]),
        (" 1 ", ["owls"]),
        ("Owls", ["owls"]),
        ("owls", ["small owls"]),
        ("OWLS", ["owls", "small owls"]),
        ("KÄUZÉ", ["accents"]),
        ("3", ["accents"]),
        ("frogs", ["frogs", "other frogs"]),
        ("1.6", []),
        ("Owl", []),
        ("9", []),
    ],
)
def test_key_then_number_then_title(name: str, items: list[str]) -> None:
    assert [project.item for project in matching(name, PROJECTS)] == items


def test_several_are_listed_with_their_keys() -> None:
    with pytest.raises(ProjectNameError, match=r"6\.5"):
        only_one("Frogs", matching("Frogs", PROJECTS))
