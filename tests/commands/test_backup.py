"""``earmark backup``, interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.services import Services

INTERRUPTED = """
import signal, sys
from earmark.cli import main

def interrupt(event, arguments):
    if event == "sqlite3.connect" and "copies" in str(arguments[0]):  # the copy, whose file is there now
        signal.raise_signal(signal.SIGINT)

sys.addaudithook(interrupt)
sys.argv = ["earmark", "backup", sys.argv[1]]
main()
"""


@pytest.mark.slow
def test_ctrl_c_during_a_backup_leaves_no_file(services: Services, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    with services.database.write():
        pass
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(copies / "copy.db")],
        env={**os.environ, "DATA_DIR": str(services.settings.data_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 130
    assert "Traceback" not in process.stderr
    assert list(copies.iterdir()) == []
