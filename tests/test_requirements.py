"""No vulnerable release comes in with label-studio-ml, and the image holds no more than it needs."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SAFE = {"flask": "3.1", "werkzeug": "3.1", "jinja2": "3.1.6", "itsdangerous": "2.2"}
"""The oldest release of each that has no known vulnerability; label-studio-ml 1.0.9 pins older ones."""
OF_TESTS = {"pytest", "ruff", "mypy", "hypothesis", "flask", "panns-inference", "pip-audit", "schemathesis"}


def named_in(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    texts = (line.partition("#")[0].strip() for line in lines)
    requirements = [Requirement(text) for text in texts if text and not text.startswith("-r")]
    return {requirement.name.lower().replace("_", "-"): requirement for requirement in requirements}


@pytest.mark.parametrize("name", SAFE)
def test_nothing_old_is_installed(name: str) -> None:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return
    assert Version(version) >= Version(SAFE[name]), "run make setup"


def test_what_is_pinned_is_installed() -> None:
    for requirement in (named_in("requirements.txt") | named_in("requirements-no-deps.txt")).values():
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name)), requirement


def test_label_studio_ml_comes_without_what_it_asks_for() -> None:
    alone = named_in("requirements-no-deps.txt")
    assert "label-studio-ml" in alone
    assert not alone.keys() & named_in("requirements.txt").keys()
    for name in ("Makefile", "Dockerfile"):
        assert "requirements-no-deps.txt" in (ROOT / name).read_text(encoding="utf-8")


def test_the_image_has_no_tests_and_may_leave_out_libraries_for_gpus() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not OF_TESTS & (named_in("requirements.txt").keys() | named_in("requirements-no-deps.txt").keys())
    assert "requirements-dev" not in dockerfile
    assert "${TORCH_INDEX:+--extra-index-url" in dockerfile
    assert "!requirements-no-deps.txt" in (ROOT / ".dockerignore").read_text(encoding="utf-8")
