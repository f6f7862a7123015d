"""``label-studio-ml`` for this project's environment, in place of the package's own command of that name.

The package runs ``_wsgi.py`` by a shell with whichever ``python`` comes first in PATH, and ends with exit
code 0 whatever became of it. ``start`` is done here instead: with this environment's Python, whose exit
code is the command's. All other commands go to the package. ``scripts/make_environment.py`` has the
environment's ``label-studio-ml`` run this file.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

NOTHING_TO_START = 2


def main() -> int:
    """Run the command line; returns the exit code."""
    if "start" not in sys.argv[1:2]:
        from label_studio_ml.server import main as package_main

        package_main()
        return 0
    parser = argparse.ArgumentParser(prog="label-studio-ml start", description="Start an ML backend")
    parser.add_argument("folder", help="folder of the ML backend, with its _wsgi.py")
    parser.add_argument("--root-dir", default=".", help="folder that this path starts from")
    arguments, handed_on = parser.parse_known_args(sys.argv[2:])
    script = Path(arguments.root_dir, arguments.folder, "_wsgi.py")
    if not script.is_file():
        print(f"✗ There is no {script}: name the folder of an ML backend.", file=sys.stderr)
        return NOTHING_TO_START
    os.execv(sys.executable, [sys.executable, str(script), *handed_on])


if __name__ == "__main__":
    sys.exit(main())
