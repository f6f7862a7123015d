"""All settings, read from the environment or a ``.env`` file in the working directory."""

from __future__ import annotations

import ipaddress
import os
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earmark.errors import ConfigurationError
from earmark.setting_types import (
    BindAddress,
    Folders,
    FramesUrl,
    HeaderSecret,
    HeaderUser,
    Hosts,
    Networks,
    RedisUrl,
    ServerUrl,
)

CLOSE = 0.88
"""Likeness of two names, as difflib measures it, from which on one counts as a misspelling of the other."""
ENV_FILE_VARIABLE = "EARMARK_ENV_FILE"
"""Environment variable with the path of a settings file instead of ``.env``; if empty, no file is read."""


S = TypeVar("S", bound=BaseSettings)


class Settings(BaseSettings):
    """Settings and their defaults. The environment variable is the name in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", env_ignore_empty=True, allow_inf_nan=False
    )

    # Where
    data_dir: Path = Field(
        default=Path("data"), description="folder for the database, frames, sounds, logs and Redis"
    )
    bind: BindAddress = Field(
        default="127.0.0.1", description="address that the API listens on; 0.0.0.0 for every interface"
    )
    port: int = Field(default=9090, ge=1, le=65535, description="port that the API listens on")
    redis_url: RedisUrl | None = Field(default=None, description="Redis to use; empty starts a private one")
    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL, such as postgresql+psycopg://…; empty keeps SQLite in DATA_DIR",
    )
    frames_url: FramesUrl | None = Field(
        default=None,
        description="frames that machines share: a folder, or s3://bucket/prefix; empty: in DATA_DIR",
    )

    # Authentication of the API; without a password or a token, any client is allowed
    api_user: HeaderUser = Field(default="earmark", description="user name that belongs to API_PASSWORD")
    api_password: HeaderSecret | None = Field(
        default=None, description="password that every request but /health must show (basic authentication)"
    )
    api_token: HeaderSecret | None = Field(
        default=None, description="token that lets a request in as well (bearer), for scripts and Prometheus"
    )

    allowed_hosts: Hosts = Field(
        default=(),
        description="further host names in this API's address, separated by ','; loopback names and BIND "
        "are always allowed",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="addresses or networks of reverse proxies, separated by ',', whose X-Forwarded-For "
        "names the client",
    )
    request_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="longest wait for a request's headers, and for its body; longer for large ones",
    )

    secret_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        repr=False,
        description="encrypts Label Studio's tokens in the database; empty makes a key in DATA_DIR",
    )

    # Label Studio
    label_studio_url: ServerUrl | None = Field(
        default=None,
        description="address of Label Studio as seen from here; empty takes what Label Studio says",
    )
    label_studio_api_key: SecretStr | None = Field(
        default=None, description="access token of either kind, from Label Studio's Account & Settings"
    )
    label_studio_local_files_document_root: Path | None = Field(
        default=None, description="the same folder that Label Studio serves local files from, read directly"
    )
    audio_roots: Folders = Field(
        default=(),
        description="folders that plain paths in tasks may point into, separated by ':'; empty allows "
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT and DATA_DIR",
    )
    allowed_sound_hosts: Hosts = Field(
        default=(),
        description="names, addresses or networks in private networks that sounds may be fetched from, "
        "separated by ','; Label Studio's own host is always allowed; a project's login for its task data "
        "goes to these",
    )

    # Encoder
    encoder: str = Field(
        default="auto",
        description="cnn14, yamnet, birdnet, logmel, a plug-in, several by +; auto takes the best there is",
    )
    birdnet_licence: Literal["", "accepted"] = Field(
        default="", description="accepted, if you agree to CC BY-NC-SA 4.0, under which BirdNET's model is"
    )
    cnn14_checkpoint: Path | None = Field(
        default=None, description="a Cnn14 checkpoint file; empty looks in the cache, then downloads"
    )
    cnn14_engine: Literal["auto", "openvino", "onnxruntime", "torch"] = Field(
        default="auto", description="what runs CNN14; auto takes the fastest here, torch where there is a GPU"
    )
    cnn14_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="of CNN14's convolutions; auto takes bf16 where the processor has it, fp16 on GPUs",
    )
    torch_threads: int = Field(
        default=0, ge=0, description="CPU threads of the encoder; 0: one a core for CNN14, one for YAMNet"
    )

    # Limits
    download_timeout_seconds: float = Field(
        default=30.0, gt=0, description="longest silence while fetching a sound"
    )
    download_deadline_seconds: float = Field(
        default=60.0,
        gt=0,
        description="a sound arrives within this time, or at DOWNLOAD_LEAST_KILOBYTES_PER_SECOND over each "
        "such stretch; a slower transfer is ended",
    )
    download_least_kilobytes_per_second: float = Field(
        default=20.0, gt=0, description="least rate at which a sound must arrive"
    )
    max_sound_megabytes: int = Field(default=4096, gt=0, description="largest sound file that is fetched")
    sound_cache_megabytes: int = Field(
        default=20480,
        gt=0,
        description="fetched sounds kept in DATA_DIR; the least recently used go first",
    )
    predict_budget_seconds: float = Field(
        default=80.0,
        gt=0,
        description="a request answers within this time; Label Studio gives up after 100 s",
    )
    train_fetch_seconds: float = Field(
        default=60.0,
        gt=0,
        description="a training waits this long for sounds; it leaves out the others until they are here",
    )
    max_request_megabytes: int = Field(
        default=100, gt=0, description="largest request; Label Studio sends 1 MB for 1,000 tasks"
    )
    max_requests_per_second: float = Field(
        default=1000.0, gt=0, description="requests of one client address, on average over 2 s"
    )
    max_failed_logins_per_second: float = Field(
        default=1.0, gt=0, description="different wrong passwords of one client address, after the first 10"
    )

    # Learning
    train_debounce_seconds: float = Field(
        default=3.0,
        ge=0,
        description="longest quiet time after an annotation before training; less where trainings are short",
    )
    train_max_wait_seconds: float = Field(
        default=30.0, ge=0, description="training starts at the latest this long after an annotation"
    )
    train_timeout_seconds: int = Field(default=3600, gt=0, description="longest a training may run")
    train_lease_seconds: float = Field(
        default=30.0,
        gt=0,
        description="a training that is silent for this long was killed or hangs: another worker takes over",
    )
    train_retry_seconds: float = Field(
        default=10.0, gt=0, description="pause after a training that failed; doubled with each further one"
    )
    train_longest_retry_seconds: float = Field(default=600.0, gt=0, description="longest of these pauses")
    train_niceness: int = Field(
        default=5,
        ge=0,
        le=19,
        description="how far trainings stand back for predictions and webhooks on a busy machine (nice)",
    )
    refresh_limit_tasks: int = Field(
        default=1000,
        ge=0,
        description="open tasks that get fresh predictions in Label Studio after a training",
    )
    refresh_retry_seconds: float = Field(
        default=60.0, gt=0, description="pause after fresh predictions could not be written"
    )
    superseded_predictions_days: float = Field(
        default=15.0,
        gt=0,
        description="how long superseded predictions stay valid; a session of Label Studio ends after 14",
    )
    sync_interval_seconds: float = Field(
        default=900.0, gt=0, description="pause between comparisons of a project with Label Studio"
    )
    sync_retry_seconds: float = Field(default=600.0, gt=0, description="pause after a comparison that failed")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least level logged"
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="auto is pretty on a terminal, and JSON, one object a line, elsewhere"
    )

    @field_validator("encoder")
    @classmethod
    def _registered(cls, value: str) -> str:
        from earmark.encoders.registry import checked_setting  # late, because encoders import this module

        try:
            return checked_setting(value)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error

    @property
    def login(self) -> tuple[str, str] | None:
        """User name and password of this API in plain text, or None if it requires none."""
        return (self.api_user, self.api_password.get_secret_value()) if self.api_password else None

    @property
    def locked(self) -> bool:
        """Whether the API requires a password or a token."""
        return self.api_password is not None or self.api_token is not None

    @property
    def open_to_others(self) -> bool:
        """Whether other machines may reach the API without authentication."""
        if self.locked or self.bind == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.bind).is_loopback
        except ValueError:
            return True

    @property
    def sqlalchemy_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'earmark.db'}"

    @property
    def api_key(self) -> str | None:
        """Access token of Label Studio in plain text, or None."""
        return self.label_studio_api_key.get_secret_value() if self.label_studio_api_key else None


def without_password(url: str) -> str:
    """Mask the password in a URL; return any other text unchanged."""
    return re.sub(r"(?<=://)([^/@:]*:).*(?=@)", r"\1***", url)


def plain_values(settings: Settings) -> dict[str, Any]:
    """Return all settings by field name as JSON values, secrets in plain text, paths absolute."""

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, Path):
            return str(value.resolve())
        return [plain(part) for part in value] if isinstance(value, tuple) else value

    return {name: plain(getattr(settings, name)) for name in Settings.model_fields}


def environment_of(settings: Settings) -> dict[str, str]:
    """Return environment variables that give a child process exactly these settings, ignoring ``.env``."""
    values = {
        name.upper(): (":" if name == "audio_roots" else ",").join(value)
        if isinstance(value, list)
        else str(value)
        for name, value in plain_values(settings).items()
        if value is not None
    }
    return {**values, ENV_FILE_VARIABLE: ""}


def load_settings(**given: Any) -> Settings:
    """Read the environment and the ``.env`` file; ``given`` values take precedence; raises as `read_as`."""
    return read_as(Settings, **given)


def read_as(kind: type[S], *, with_file: bool = True, **given: Any) -> S:
    """Read settings of a kind from the environment and, ``with_file``, from the ``.env`` file.

    Raises
    ------
    ConfigurationError
        A variable has an invalid value; the message contains its name and the reason. Or the file cannot be
        read as text, or the one that EARMARK_ENV_FILE names is missing.
    """
    path = os.environ.get(ENV_FILE_VARIABLE, ".env") if with_file else ""
    if path and os.environ.get(ENV_FILE_VARIABLE) and not Path(path).is_file():
        raise ConfigurationError(
            f"There is no settings file {path}: correct {ENV_FILE_VARIABLE}, or unset it to read .env."
        )
    try:
        return kind(_env_file=path or None, **given)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The settings file {path} cannot be read ({error}): save it as UTF-8 text that you may read, or "
            f"name another one in {ENV_FILE_VARIABLE}."
        ) from error
    except ValidationError as error:
        faults = "; ".join(
            f"{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ').removesuffix('.')}"
            for e in error.errors()
        )
        raise ConfigurationError(f"Some settings cannot be used: {faults}.") from None


def misspelled() -> dict[str, str]:
    """Return variables of the environment and the ``.env`` file that are nearly a setting, and which one.

    ``LABEL_STUDIO_APIKEY`` would otherwise be ignored without a word. Upper and lower case are the same.
    """
    settings = {name.upper() for name in Settings.model_fields}
    path = os.environ.get(ENV_FILE_VARIABLE, ".env")
    variables = {*os.environ, *(dotenv_values(path) if path else ())}
    likely = {
        name: get_close_matches(name.upper(), settings, 1, CLOSE)
        for name in variables
        if name.upper() not in settings
    }
    return {name: matches[0] for name, matches in sorted(likely.items()) if matches}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, cached."""
    return load_settings()
