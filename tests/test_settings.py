"""Settings come from the environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import ConfigurationError
from earmark.settings import load_settings


def test_defaults_need_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.port == 9090
    assert settings.redis_url is None
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path / 'data' / 'earmark.db'}"


def test_the_environment_and_a_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARMARK_ENV_FILE")
    (tmp_path / ".env").write_text("PORT=9191\nLABEL_STUDIO_URL=http://ls:8080/\n")
    monkeypatch.setenv("AUDIO_ROOTS", "/a:/b")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    settings = load_settings()
    assert (settings.port, settings.label_studio_url) == (9191, "http://ls:8080")
    assert settings.audio_roots == (Path("/a"), Path("/b"))
    assert "secret" not in repr(settings)
    assert settings.api_key == "secret"


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "many"), ("ENCODER", "vggish"), ("PREDICT_BUDGET_SECONDS", "-1")]
)
def test_an_unusable_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load_settings()
