"""Ctrl-C while a command is still loading its modules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "earmark", "import", "nowhere", "--project", "1"],
        ["-m", "earmark", "export", "1", "--format", "jsonl", "--out", "nowhere"],
        ["scripts/bulk_import.py", "nowhere", "--project", "1"],
        ["scripts/preannotate.py", "1"],
    ],
)
def test_ctrl_c_while_modules_load_ends_with_130_and_no_traceback(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        # Says which modules are there, so that it is known to be in the middle of them
        [sys.executable, "-v", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    seen = ""
    while "import 'typer" not in seen:
        seen += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    seen += process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in seen


def test_where_the_parent_ignores_ctrl_c_it_stays_ignored() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from earmark.processes.loading import loading\n"
        "with loading(): signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with loading(): pass\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
