"""One backend at a time runs on a data folder; the second one refuses and names the first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.errors import ConfigurationError, DataFolderInUseError
from earmark.processes.data_lock import sole_backend

HOLDER = (
    "import sys, time; from pathlib import Path; from earmark.processes.data_lock import sole_backend\n"
    "with sole_backend(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
)


def test_the_second_refuses_with_the_process_of_the_first_until_that_ends(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        for _ in range(2):  # refusing changes nothing
            with (
                pytest.raises(DataFolderInUseError, match=rf"process {first.pid}\b"),
                sole_backend(tmp_path / "data"),
            ):
                pass
        with sole_backend(tmp_path / "other"):
            pass
    finally:
        first.kill()  # the kernel releases the lock, whatever ended it
        first.wait()
    with sole_backend(tmp_path / "data"):
        assert str(os.getpid()) in (tmp_path / "data" / "run" / "backend.owner").read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file"), sole_backend(tmp_path / "file"):
        pass
