"""Permissions of new files: private ones, and those that are shared all the same."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.storage.atomic_files import FORMER_UMASK, share

_PRIVATE = "from earmark.storage.atomic_files import keep_new_files_private; keep_new_files_private()\n"
_SAVE = """
import sys
from pathlib import Path
import numpy as np
from earmark.features.shared_store import SharedFolderFrames
from earmark.features.store import EncodedSound
sound = EncodedSound("ab" * 32, 1.0, np.ones((2, 3), np.float16))
SharedFolderFrames(Path(sys.argv[1])).save(sound, "e-1")
"""
_PARENT = (
    f"import subprocess, sys\n{_PRIVATE}sys.exit(subprocess.call([sys.executable, '-c', *sys.argv[1:]]))"
)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["a command", "a process", "a child process"])
def test_shared_frames_have_the_users_permissions(tmp_path: Path, command: str) -> None:
    """The last as of ``earmark up``, whose processes inherit the private umask of their parent."""
    code = _SAVE if command == "a command" else _PRIVATE + _SAVE
    arguments = [_PARENT, code] if command == "a child process" else [code]
    folder = tmp_path / "mount"
    subprocess.run([sys.executable, "-c", *arguments, str(folder)], check=True, umask=0o027)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    assert modes == {"mount": 0o750, "e-1": 0o750, "ab": 0o750, f"{'ab' * 32}.frames": 0o640}


def test_sharing_takes_no_permission_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared folder may belong to a group, whose members write to it and own what is in it."""
    monkeypatch.setenv(FORMER_UMASK, "22")
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o2770)
    share(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
