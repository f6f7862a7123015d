"""What a contributor reads first is true: links, the map of packages, checks before a commit and in CI."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "backend" / "earmark"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
MAPS = ("docs/architecture.md", "docs/design.md")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> Any:
    return yaml.safe_load(text_of(name))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(name))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", MAPS)
def test_paths_in_the_maps_exist(name: str) -> None:
    paths = re.findall(r"`([\w.-]+/[\w./-]+)`", text_of(name))
    assert paths
    missing = [path for path in paths if not any((folder / path).exists() for folder in (ROOT, PACKAGE))]
    assert missing == []


def packages() -> set[str]:
    return {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}


def test_the_table_has_every_package() -> None:
    rows = re.findall(r"^\| (`.+?) \|", text_of(MAPS[0]), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert named == packages() | modules


def test_arrows_of_the_picture_are_imports() -> None:
    (picture,) = re.findall(r"```mermaid\n(.*?)```", text_of(MAPS[0]), re.DOTALL)
    shown: set[str] = set()
    for line in picture.splitlines()[1:]:
        above, _, below = line.strip().partition(" --> ")
        for target in below.split(" & "):
            shown |= {above, target}
            sources = [PACKAGE / f"{above}.py", *(PACKAGE / above).rglob("*.py")]
            imported = re.compile(rf"^ *(from|import) earmark\.{target}\b", re.MULTILINE)
            assert any(imported.search(path.read_text()) for path in sources if path.exists()), line
    assert shown == packages() | {"services"}


def test_checks_before_a_commit_are_those_of_make_lint() -> None:
    hooks = [hook for repo in parsed(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    lint = text_of("Makefile").partition("\nlint: setup\n")[2].partition("\n\n")[0]
    assert len(hooks) == len(lint.splitlines())
    for hook in hooks:
        assert hook["language"] == "system", "nothing is downloaded"
        assert hook["entry"].split()[0].replace(".venv/bin", "$(BIN)") in lint


def test_ci_makes_the_tests_on_every_python_that_is_promised() -> None:
    job = parsed(".github/workflows/test.yml")["jobs"]["test"]
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    promised = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert job["strategy"]["matrix"]["python"] == promised
    commands = " ".join(step.get("run", "") for step in job["steps"])
    assert "make test" in commands
    assert "chromium" in commands
    assert "postgresql" in commands
