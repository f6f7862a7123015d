"""Make a virtual environment from a requirements file, with visible progress. Standard library only.

Usage: python scripts/make_environment.py FOLDER REQUIREMENTS "what it is for" [ALONE]

ALONE names a second file of requirements, which are installed afterwards, without what they ask for.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
import venv
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

OWN_COMMANDS = {"label-studio-ml": "start_ml_backend.py"}
"""Commands of packages that a script of ours, beside this one, takes the place of."""
KEPT_LINES = 15
TERMINAL_SECONDS, LINE_SECONDS = 0.5, 10.0
"""Intervals of the progress, on a terminal and elsewhere."""
LINE_WIDTH = 100
SHOWN_STARTS = ("Collecting ", "Downloading ", "Building ", "Installing ", "Using cached ")


def main(folder: Path, requirements: Path, purpose: str, alone: Path | None = None) -> int:
    """Build the environment; returns the exit code. A half-built one is completed by the next call."""
    if not (3, 11) <= sys.version_info < (3, 13):
        version = sys.version.split()[0]
        print(f"Python 3.11 or 3.12 is needed, this is {version}: make PYTHON=/path/to/python3.11 …")
        return 2
    started = time.monotonic()
    print(f"Setting up {folder} ({purpose}; a few minutes the first time)", flush=True)
    if not (folder / "bin" / "python").exists():
        try:
            venv.create(folder, with_pip=True, symlinks=True)
        except subprocess.CalledProcessError:
            print("Python's venv module is incomplete here (Debian, Ubuntu: apt-get install python3-venv).")
            return 2
    packages = 0
    for options in (["-r", str(requirements)], *([["--no-deps", "-r", str(alone)]] if alone else [])):
        installed = install(folder, options, started, packages)
        if installed is None:
            return 1
        packages += installed
    for name, script in OWN_COMMANDS.items():
        install_command(folder, name, Path(__file__).with_name(script))
    print(f"  ready after {time.monotonic() - started:.0f} s, {packages} new packages", flush=True)
    return 0


def install(folder: Path, options: list[str], started: float, packages: int) -> int | None:
    """Run pip; returns how many packages it collected, or None where it failed, after its last lines.

    Parameters
    ----------
    started, packages
        When the set-up began (monotonic clock), and packages so far, for the display.
    """
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    pip = subprocess.Popen(
        [*command, "--disable-pip-version-check", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert pip.stdout is not None
    last: deque[str] = deque(maxlen=KEPT_LINES)
    progress = Progress(started, packages)
    with progress.shown():
        for line in pip.stdout:
            last.append(line)
            progress.read(line)
    if pip.wait() == 0:
        return progress.packages - packages
    print("".join(last), end="")
    print(f"{folder} could not be set up: see pip's last lines above; run make again when it is mended.")
    return None


def install_command(folder: Path, name: str, script: Path) -> None:
    """Have a package's command run a script of ours, where the environment has that command."""
    command, python = folder / "bin" / name, folder.absolute() / "bin" / "python"
    if command.exists():
        command.unlink()
        run = f"exec {shlex.quote(str(python))} {shlex.quote(str(script.resolve()))}"
        command.write_text(f'#!/bin/sh\n{run} "$@"\n')
        command.chmod(0o755)


class Progress:
    """The state of an installation: seconds, packages, and what pip does.

    It is shown at regular intervals, because pip prints nothing while it downloads or installs.
    """

    def __init__(self, started: float, packages: int) -> None:
        self.packages = packages
        self._started = started
        self._doing = ""

    def read(self, line: str) -> None:
        """Take in a line of pip's output."""
        self.packages += line.startswith("Collecting ")
        if line.startswith(SHOWN_STARTS):
            self._doing = line.strip()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the state every few seconds until the block ends."""
        ended = Event()
        seconds = TERMINAL_SECONDS if sys.stdout.isatty() else LINE_SECONDS

        def repeat() -> None:
            while not ended.wait(seconds):
                show(
                    f"  {time.monotonic() - self._started:4.0f} s  {self.packages:3d} packages  {self._doing}"
                )

        thread = Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            clear()


def show(text: str) -> None:
    """Rewrite the current line of a terminal; elsewhere, print a line."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{text[:width]}", end="", flush=True)
    else:
        print(text[:LINE_WIDTH].rstrip(), flush=True)


def clear() -> None:
    """Empty the current line of a terminal."""
    if sys.stdout.isatty():
        print("\r\033[K", end="")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], *map(Path, sys.argv[4:5])))
