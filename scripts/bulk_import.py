"""``python scripts/bulk_import.py``: the same as ``earmark import``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:
        # Run as a file, Python looks for modules beside it and not in the project's folder.
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from earmark.processes.loading import loading

    with loading():
        # Here, because the processes that check files load this module again.
        from earmark.cli import run_explained
        from earmark.commands.import_ import command_line

    run_explained(command_line)
