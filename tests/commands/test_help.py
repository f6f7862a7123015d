"""Help texts are wrapped by the terminal alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from typer.testing import CliRunner

from earmark.cli import app
from earmark.commands.common import joined_paragraphs

NAMES = sorted(
    command.name or command.callback.__name__ for command in app.registered_commands if command.callback
)


def test_lines_of_paragraphs_are_joined_and_examples_kept() -> None:
    text = "First\nline.\n\nA paragraph\nof two lines.\n\n    an example\n    of two lines"
    assert joined_paragraphs(text) == (
        "First line.\n\nA paragraph of two lines.\n\n    an example\n    of two lines"
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_a_paragraph_is_short_at_80_columns(name: str) -> None:
    """A line ends where the next word does not fit, or a paragraph does."""
    shown = CliRunner().invoke(app, [name, "--help"], terminal_width=80, env={"COLUMNS": "80"}).output
    lines = shown.split("\n \u256d")[0].split("\n\u256d")[0].splitlines()
    for line, following in pairwise(lines):
        indented = line.startswith("  ") or following.startswith("  ")
        if line.strip() and following.strip() and not indented and "Usage:" not in line:
            word = following.split()[0]
            assert len(line.rstrip()) + 1 + len(word) > 79, (line, following)
