"""Pydantic schemas of Label Studio's requests and our responses, as OpenAPI shows them.

Requests are read leniently: only indispensable fields are required, and unknown fields are kept, because
Label Studio's releases differ.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SetupRequest(BaseModel):
    """A project as Label Studio describes it before its first request."""

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
    params: Any = Field(
        None,
        description="with `context`, the regions drawn in the editor: only these are predicted",
    )


class PredictAnswer(BaseModel):
    """One item for each task, in order."""

    results: list[dict[str, Any]] = Field(
        description="`result`, `score` (0 uncertain to 1 certain) and `model_version`; `probabilities` "
        "has every label of every control; an item without `result` was not reached in time"
    )
    model_version: str


class SuggestRequest(BaseModel):
    """A marked stretch of a sound."""

    audio: str = Field(
        description="address of the sound, as tasks hold it", examples=["/data/upload/1/a.wav"]
    )
    start: float = Field(description="seconds", ge=0, allow_inf_nan=False, examples=[1.5])
    end: float = Field(description="seconds, after `start`", gt=0, allow_inf_nan=False, examples=[2.5])
    project: str | int = Field(
        description="`<id>.<created>`, or Label Studio's id alone where it is unambiguous",
        examples=["1.1795198673"],
    )
    label_config: str = Field("", description="the label config, XML; if empty, the project's own is used")


class LabelScore(BaseModel):
    """A label and its probability."""

    label: str
    score: float = Field(ge=0, le=1)


class SuggestAnswer(BaseModel):
    """Label of the marked stretch, and where it starts and ends."""

    label: str | None = Field(
        description="the likeliest label, however unlikely; null where none of those asked for was learned"
    )
    labels: list[LabelScore] = Field(
        description="labels that reach their threshold, likeliest first; else the likeliest alone"
    )
    start: float = Field(description="seconds, moved to the largest change of level within 0.3 s")
    end: float
    model_version: str


class WebhookRequest(BaseModel):
    """An event of Label Studio."""

    model_config = ConfigDict(extra="allow")

    action: str = Field(examples=["ANNOTATION_CREATED", "START_TRAINING"])
    project: Any = None
    task: Any = None
    annotation: Any = None


class WebhookAnswer(BaseModel):
    """Confirms that the event is stored; training follows automatically."""

    event: int = Field(description="id of the stored event")


class VersionDetail(BaseModel):
    """A trained version."""

    project: str
    name: str
    active: bool
    encoder: str
    annotations: int
    created_at: float = Field(description="seconds since the epoch, UTC")
    status: str = Field(
        description="`accepted`, or `rejected`: measured worse than the version that was active then"
    )
    reason: str = Field(description="why it was rejected, else empty")
    promotable: bool = Field(
        description="whether its head is still stored; of many old versions only the metrics are"
    )
    metrics: dict[str, Any] = Field(
        description="by control, measured on recordings that were left out: `lwlrap`, `map`, `f1` or "
        "`accuracy`, `ece`; `per_class`; `agreement` of annotators, Krippendorff's alpha for each label"
    )
    correction: dict[str, dict[str, float]] = Field(
        description="by control, what correcting its suggestions costs, on recordings that were left out: "
        "`annotations` (how many were measured), `effort_ratio` (over annotating by hand; below 1 saves "
        "work); of regions also `event_f1` (both edges within 200 ms), `onset_error_seconds` and "
        "`offset_error_seconds` (medians), `false_alarms_per_minute` of background"
    )


class CurvePoint(BaseModel):
    """Difference between predictions and the annotations that followed them."""

    name: str = Field(description="a version's name, or an annotator's number in Label Studio")
    controls: dict[str, dict[str, float]] = Field(
        description="by control: `annotations`, `f1`, `error_rate` (DCASE, segment-based), `lwlrap`, and "
        "what correcting cost, as in `correction` of a version"
    )


class CurveStep(BaseModel):
    """The same for a number of consecutive annotations; values that cannot be determined are null."""

    first: int = Field(
        description="position of the first of these annotations in the project, counted from 1"
    )
    last: int
    suggestions: int = Field(description="regions and tags that were shown and whose outcome is known")
    accepted: float | None = Field(description="share of them that was submitted unchanged")
    tags_f1: float | None = Field(description="F1 of tags; for a single choice, the share that was correct")
    region_f1: float | None = Field(description="F1 over the seconds that regions cover")
    edge_error_seconds: float | None = Field(description="median distance of predicted onsets and offsets")
    effort_ratio: float | None = Field(
        description="effort of correcting what was suggested over that of annotating by hand; below 1, "
        "suggestions save work"
    )
    event_f1: float | None = Field(description="F1 of regions, found where both edges are within 200 ms")


class LearningCurve(BaseModel):
    """Each annotation compared with the prediction shown for it, before training on it (prequential)."""

    steps: list[CurveStep] = Field(description="by number of annotations, at most 15 steps of equal size")
    versions: list[CurvePoint]
    annotators: list[CurvePoint]


class ProjectStatement(BaseModel):
    """A statement about a project's status, as the doctor and the pages show it."""

    kind: str = Field(
        description="`gone`, `waiting`, `training`, `held_back`, `labels`, `renames` or `disagreement`"
    )
    level: str = Field(description="`fine`, `note` or `fault`")
    text: str
    remedy: str = Field(description="what to do about it, or empty")
    tasks: list[int] = Field(description="Label Studio's ids of the first ten tasks concerned")
    links: list[str] = Field(description="URLs of these tasks in Label Studio, if its address is known")


class ProjectVersions(BaseModel):
    """Status of a project."""

    project: str
    title: str
    active: str | None = Field(description="the version in use; null before the first training")
    remark: str = Field(description="why the last training led to no new version that is served, or empty")
    statements: list[ProjectStatement] = Field(
        description="why training waits, labels without examples, renamed labels, annotators who disagree"
    )
    learning_curve: LearningCurve | None = Field(
        description="if one project was asked for: predictions compared with the annotations that followed"
    )


class VersionsAnswer(BaseModel):
    """All versions, newest first; `versions` is what Label Studio reads."""

    versions: list[str]
    details: list[VersionDetail]
    projects: list[ProjectVersions]


class ReadyAnswer(BaseModel):
    """Whether all parts work."""

    ready: bool
    faults: dict[str, str] = Field(
        description="by part (`database`, `redis`, `encoder`), what is wrong and what to do",
        examples=[{"redis": "No worker runs, so nothing is trained: earmark worker"}],
    )
    notes: dict[str, str] = Field(
        default_factory=dict,
        description="by part (`frames`), what slows responses down but does not prevent them",
    )


class HealthAnswer(BaseModel):
    """The process is up."""

    status: str = Field(examples=["UP"])
    model_class: str = "Earmark"
    version: str
