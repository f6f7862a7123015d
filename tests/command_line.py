"""Earmark's commands in the tests' own process; in one of their own, each loads everything anew."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from earmark.cli import main

ROOT = Path(__file__).resolve().parents[1]


def run_command(
    *arguments: object, environment: Mapping[str, str], folder: Path = ROOT
) -> CompletedProcess[str]:
    """Run ``earmark`` with these arguments, in a folder and in exactly this environment."""
    command = ["earmark", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in set(os.environ) - set(environment):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", command)
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int), code
    return CompletedProcess(command, code, out.getvalue(), err.getvalue())
