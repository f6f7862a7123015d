"""The folders that plain paths in tasks may point into: ``AUDIO_ROOTS``, or a safe default."""

from __future__ import annotations

from pathlib import Path

from earmark.errors import SoundNotFoundError
from earmark.settings import Settings

SPECIAL_FOLDERS = tuple(map(Path, ("/proc", "/sys", "/dev")))
"""What looks like files there are devices and the state of processes, environment variables included."""


class AllowedFolders:
    """``AUDIO_ROOTS``; where it is empty, Label Studio's document root, if it is known, and ``DATA_DIR``."""

    def __init__(self, settings: Settings) -> None:
        document_root = settings.label_studio_local_files_document_root
        self._folders = settings.audio_roots or (
            *([document_root] if document_root else []),
            settings.data_dir,
        )

    def check(self, path: Path, shown: str) -> None:
        """Check an absolute path without symbolic links.

        Parameters
        ----------
        shown
            The address for the message, in quotation marks.

        Raises
        ------
        SoundNotFoundError
            It is in none of the folders, or in one of the kernel's.
        """
        if is_special(path):
            raise SoundNotFoundError(f"{shown} is no sound, but the system's own: correct it in the task.")
        if not any(path.is_relative_to(folder.resolve()) for folder in self._folders):
            raise SoundNotFoundError(
                f"{shown} is outside the folders that tasks may point into: where the backend runs, set "
                "AUDIO_ROOTS to the folders that hold sounds, separated by ':', or move it into one of them."
            )


def is_special(path: Path) -> bool:
    """Whether an absolute path without symbolic links belongs to the kernel, not to a disk."""
    return any(path.is_relative_to(folder) for folder in SPECIAL_FOLDERS)
