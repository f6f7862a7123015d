"""Setting up an environment shows how far it is, also while pip is silent."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from scripts import make_environment

PIP = """#!/bin/sh
echo Collecting one
echo Collecting two
echo Installing collected packages: one, two
until [ -e {seen} ]; do sleep 0.01; done
exit {code}
"""


@pytest.mark.parametrize(("code", "expected"), [(0, 2), (1, None)])
def test_progress_is_repeated_while_pip_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: int | None
) -> None:
    """The pretended pip goes on only when its last line has been shown twice."""
    python, seen, lines = tmp_path / "bin" / "python", tmp_path / "seen", []
    python.parent.mkdir()
    python.write_text(PIP.format(seen=seen, code=code))
    python.chmod(0o755)

    def show(text: str) -> None:
        lines.append(text)
        if sum("Installing" in line for line in lines) == 2:
            seen.touch()

    monkeypatch.setattr(make_environment, "LINE_SECONDS", 0.01)
    monkeypatch.setattr(make_environment, "show", show)
    assert make_environment.install(tmp_path, [], time.monotonic(), 3) == expected
    assert "5 packages" in lines[-1]
