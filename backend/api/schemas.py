"""Bodies of Label Studio's requests and our answers, as OpenAPI shows them.

Requests are read leniently: only what cannot be done without is demanded, and unknown fields are
kept, because Label Studio's releases differ.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SetupRequest(BaseModel):
    """What Label Studio says of a project before it asks anything."""

    model_config = ConfigDict(extra="allow")

    project: Any = Field(None, description="`<id>.<created>`", examples=["1.1795198673"])
    schema_: Any = Field(None, alias="schema", description="the label config, XML")
    hostname: Any = Field(None, description="Label Studio's address")
    access_token: Any = Field(None, description="legacy token of the backend's creator")


class SetupAnswer(BaseModel):
    """The version that answers for the project now."""

    model_version: str = Field(examples=["cnn14-v3"])


class PredictRequest(BaseModel):
    """Tasks to predict."""

    model_config = ConfigDict(extra="allow")

    tasks: list[Any] = Field(description="tasks with `id` and `data`")
    project: Any = Field(None, examples=["1.1795198673"])
    label_config: Any = Field(None, description="the label config, XML")
    params: Any = None


class PredictAnswer(BaseModel):
    """One item for each task, in order."""

    results: list[dict[str, Any]] = Field(
        description="`result`, `score` (0 uncertain to 1 certain) and `model_version`; `probabilities` "
        "has every label of every control; an item without `result` was not reached in time"
    )
    model_version: str


class WebhookRequest(BaseModel):
    """An event of Label Studio."""

    model_config = ConfigDict(extra="allow")

    action: str = Field(examples=["ANNOTATION_CREATED", "START_TRAINING"])
    project: Any = None
    task: Any = None
    annotation: Any = None


class WebhookAnswer(BaseModel):
    """The event is stored; training follows by itself."""

    event: int = Field(description="number of the stored event")


class VersionDetail(BaseModel):
    """A trained version."""

    project: str
    name: str
    active: bool
    encoder: str
    annotations: int
    created_at: float = Field(description="seconds since the epoch, UTC")
    metrics: dict[str, Any]


class VersionsAnswer(BaseModel):
    """All versions, the newest first; `versions` is what Label Studio reads."""

    versions: list[str]
    details: list[VersionDetail]


class HealthAnswer(BaseModel):
    """The process is up."""

    status: str = Field(examples=["UP"])
    model_class: str = "Earmark"
    version: str
