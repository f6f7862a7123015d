"""Ports of the demo are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import ConfigurationError
from scripts.demo import ports

NAMES = ("PORT", "LABEL_STUDIO_PORT")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARMARK_ENV_FILE", raising=False)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["abc", "99999", "0", "-1", "80.5"])
@pytest.mark.parametrize("check", [False, True])
def test_what_is_no_port_is_one_sentence(
    name: str, value: str, check: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"\b{name}\b") as refused:
        ports(any_free=check)
    assert "\n" not in str(refused.value)


def test_both_on_one_port_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    with pytest.raises(ConfigurationError, match="LABEL_STUDIO_PORT"):
        ports(any_free=False)


def test_ports_come_from_the_environment_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ports(any_free=False) == (9090, 8080)
    (tmp_path / ".env").write_text("PORT=9191\nLABEL_STUDIO_PORT=8181\n")
    assert ports(any_free=False) == (9191, 8181)
    monkeypatch.setenv("PORT", "9292")
    assert ports(any_free=False) == (9292, 8181)
    assert 8181 not in ports(any_free=True), "the check runs beside a backend that the file is for"
