"""Settings come from the environment, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import ConfigurationError
from earmark.settings import Settings, environment_of, load_settings, misspelled


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("REDIS_URL", url) for url in ("nonsense", "http://h", "redis://h/one", "redis://:p#ss@h:1/0")),
        *(("REDIS_URL", f"redis://{place}") for place in ("h:port", "h:99999", "[::1", "h?db=x", "h?typo=1")),
        *(("FRAMES_URL", url) for url in ("frames", "http://h/frames", "s3://", "ftp://h")),
        *(("TRAIN_DEBOUNCE_SECONDS", number) for number in ("inf", "nan", "-1", "soon")),
        ("PREDICT_BUDGET_SECONDS", "inf"),
        ("SECRET_KEY", "short"),
    ],
)
def test_each_unusable_value_is_one_sentence_without_secrets(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert "p#ss" not in str(caught.value)


def test_a_settings_file_that_is_missing_or_no_text_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.env"
    monkeypatch.setenv("EARMARK_ENV_FILE", str(path))
    with pytest.raises(ConfigurationError, match=r"no settings file .*settings\.env"):
        load_settings()  # else an API_PASSWORD in it would be left out, and the API open
    path.write_bytes(b"API_PASSWORD=caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"settings\.env.*UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://me:p%23@h:6379/3?ssl_cert_reqs=none", "unix:///run/redis.sock?db=2"]
)
def test_addresses_of_redis(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == url


def test_misspelled_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.env").write_text("FRAME_URL=/frames\nLABEL_STUDIO_USERNAME=me\n")
    monkeypatch.setenv("EARMARK_ENV_FILE", str(tmp_path / "settings.env"))
    monkeypatch.setenv("LABEL_STUDIO_APIKEY", "token")
    monkeypatch.setenv("log_level", "ERROR")  # settings are read in either case
    assert load_settings().log_level == "ERROR"
    assert misspelled() == {"FRAME_URL": "FRAMES_URL", "LABEL_STUDIO_APIKEY": "LABEL_STUDIO_API_KEY"}


@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "TRUSTED_PROXIES", "ALLOWED_SOUND_HOSTS"])
def test_lists_of_hosts_are_read_checked_and_handed_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, " 192.0.2.1, 2001:db8::/32 ,")
    settings = load_settings()
    assert getattr(settings, name.lower()) == ("192.0.2.1", "2001:db8::/32")
    monkeypatch.setenv(name, environment_of(settings)[name])
    assert load_settings() == settings
    for wrong in ("http://host", "host:9000", "10.0.0.0/99", "a/b", "-"):
        monkeypatch.setenv(name, f"192.0.2.1,{wrong}")
        with pytest.raises(ConfigurationError, match=name):
            load_settings()
    monkeypatch.setenv(name, "")
    assert getattr(load_settings(), name.lower()) == ()


EXAMPLE = Path(__file__).parents[1] / ".env.example"


def test_the_example_names_every_setting_with_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert all(not line or line.startswith("#") for line in lines), "nothing is set by a mere copy"
    settings = [line[1:] for line in lines if line.startswith("#") and not line.startswith("# ")]
    assert [line.partition("=")[0].lower() for line in settings] == list(Settings.model_fields)
    assert all("  # " in line for line in settings), "each says what it is for"
    (tmp_path / "all.env").write_text("\n".join(settings), encoding="utf-8")
    monkeypatch.setenv("EARMARK_ENV_FILE", str(tmp_path / "all.env"))
    for name in Settings.model_fields:  # those that tests are given as well
        monkeypatch.delenv(name.upper(), raising=False)
    assert load_settings() == Settings.model_construct()
