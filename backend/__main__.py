"""``python -m backend``: an alias of the command ``earmark`` for a clone that is not installed."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
runpy.run_module("earmark", run_name="__main__")
