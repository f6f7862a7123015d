"""What the command line loads before a command runs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "scipy", "sqlalchemy", "alembic", "soundfile", "torch")
"""Libraries that take longer to load than the rest of the command line."""


def test_the_command_line_loads_no_heavy_library() -> None:
    code = f"import sys, earmark.cli; print(*set({HEAVY}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
