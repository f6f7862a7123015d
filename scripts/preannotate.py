"""``python scripts/preannotate.py PROJECT``: the same as ``earmark preannotate``."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from earmark.processes.loading import loading

    with loading():
        import typer

        from earmark.cli import run_explained
        from earmark.commands.preannotate import preannotate

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(preannotate)
    run_explained(app)
