"""Status messages of a project, shared by the doctor, the pages and ``versions``: why training waits, the
outcome of the last one, labels without examples, renamed labels, and annotators who disagree.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from earmark.audio.addresses import shown
from earmark.encoders import encoder_identity
from earmark.encoders.background_fetch import awaited_weights
from earmark.errors import EarmarkError, LabelConfigError
from earmark.jobs.dispatcher import debounce_seconds, is_due
from earmark.labels.label_config import parse_label_config, read_label_config
from earmark.monitoring.project_status import NOTHING_YET, ProjectState
from earmark.settings import Settings
from earmark.store.events import PendingWork
from earmark.wording import counted, first_named

Kind = Literal["gone", "waiting", "training", "held_back", "labels", "renames", "disagreement"]
Level = Literal["fine", "note", "fault"]

STALE_WORK_SECONDS = 120.0
"""Webhooks that wait longer, though a training is due, indicate that no worker runs."""
NAMED_AT_MOST = 10
"""Maximum number of labels, or tasks, in a message."""


@dataclass(frozen=True)
class Statement:
    """Status message with a remedy. ``tasks``: ids of the tasks concerned."""

    kind: Kind
    level: Level
    text: str
    remedy: str = ""
    tasks: tuple[int, ...] = ()


def project_statements(state: ProjectState, settings: Settings, now: float | None = None) -> list[Statement]:
    """Return a project's status messages, most urgent first (``now``: seconds since the epoch)."""
    now = time.time() if now is None else now
    return [
        *_gone(state, now),
        *_waiting(state, settings, now),
        *_training(state),
        *_held_back(state),
        *_labels(state),
        *_unusable(state),
        *_controls(state, settings),
        *_renames(state),
        *_disagreements(state),
    ]


def task_address(state: ProjectState, settings: Settings, task: int) -> str:
    """Return the URL of a task in Label Studio; empty where its address is not known."""
    project = project_address(state, settings)
    return f"{project}?task={task}" if project else ""


def project_address(state: ProjectState, settings: Settings) -> str:
    """Return the URL of a project in Label Studio, without a password; empty where it is not known."""
    url = shown(state.project.hostname or settings.label_studio_url or "").rstrip("/")
    return (
        f"{url}/projects/{state.project.project_id}/data" if url.startswith(("http://", "https://")) else ""
    )


def _gone(state: ProjectState, now: float) -> Iterator[Statement]:
    """Yield that Label Studio has the project no longer."""
    project = state.project
    if project.gone_at:
        text = (
            "Label Studio no longer has this project, or does not show it to the token (for "
            f"{(now - project.gone_at) / 3600:.0f} h): it is looked for once a day, and not refreshed."
        )
        remedy = f"If it is there: check LABEL_STUDIO_API_KEY, and run 'earmark sync {project.project_id}'."
        yield Statement("gone", "note", text, remedy)


def _waiting(state: ProjectState, settings: Settings, now: float) -> Iterator[Statement]:
    """Yield why there is no newer version yet."""
    project, work = state.project, state.work
    held = counted(state.annotations, "annotation")
    download = weights_awaited(settings)
    if download and (work or not state.active):
        yield Statement("waiting", "note", download)
    if project.lease_owner is not None and now < project.lease_until:
        first = "" if state.active else f"; it is the first one, on {held} so far"
        yield Statement("waiting", "note", f"A training runs now{first}.")
    elif work:
        yield _pending(state, work, settings, now)
    elif state.training is None and state.active is None:
        if state.annotations:
            text = f"{held} are held and were not learned from yet: press Start Training in Label Studio."
            yield Statement("waiting", "note", text)
        elif not project.synced_at and (project.access_token or settings.api_key):
            text = "What is annotated already was not fetched from Label Studio yet; that happens by itself."
            yield Statement("waiting", "note", text)
        else:
            yield Statement("waiting", "note", NOTHING_YET)


def _pending(state: ProjectState, work: PendingWork, settings: Settings, now: float) -> Statement:
    lead = f"{counted(work.events, 'webhook')} of Label Studio {'waits' if work.events == 1 else 'wait'}"
    if state.annotations and not state.active:
        lead += f", {counted(state.annotations, 'annotation')} are held"
    if now < work.retry_after and work.asked_at <= work.failed_at:
        wait = work.retry_after - now
        text = (
            f"{lead}: after the last training failed, the next try is in {wait:.0f} s, or at Start Training."
        )
        return Statement("waiting", "note", text)
    if not is_due(work, settings, now, state.training_seconds):
        pause, longest = debounce_seconds(settings, state.training_seconds), settings.train_max_wait_seconds
        text = f"{lead}: a training starts after {pause:g} s without another one, or after {longest:g} s."
        return Statement("waiting", "note", text)
    waited = now - work.first_received_at
    if waited > STALE_WORK_SECONDS:
        text = f"{lead} for {waited:.0f} s: no worker has taken the training up."
        return Statement("waiting", "fault", text, "Start a worker: earmark worker")
    return Statement("waiting", "note", f"{lead}: a training is about to start.")


def _training(state: ProjectState) -> Iterator[Statement]:
    """Yield the outcome of the last training, where it needs mentioning."""
    training, remark = state.training, state.remark
    if training is None or not remark:
        return
    remedy = ""
    if training.outcome == "rejected":
        remedy = f"'earmark promote {state.project.project_id} {training.version}' serves it anyway."
    yield Statement("training", "fault" if training.outcome == "failed" else "note", remark, remedy)


def _held_back(state: ProjectState) -> Iterator[Statement]:
    """Yield the controls whose tags are not suggested, since correcting them saves no work."""
    figures = state.active.metrics if state.active else {}
    for control in state.controls:
        # A threshold in the label config shows them all the same
        if figures.get(control.name, {}).get("held_back") and control.threshold is None:
            text = (
                f"“{control.name}”: no tags are suggested yet, as correcting them would take as long as "
                "ticking all by hand."
            )
            remedy = (
                "That ends by itself with more annotations; model_score_threshold on the control's tag shows "
                "them at once."
            )
            yield Statement("held_back", "note", text, remedy)


def _labels(state: ProjectState) -> Iterator[Statement]:
    """Yield labels without annotations, and annotated labels that the label config lacks."""
    summary = state.project.annotated or {}
    counts, removed = summary.get("labels", {}), summary.get("removed", {})
    for control in state.controls:
        names = state.names.get(control.name, {})
        annotated = {*counts.get(control.name, {}), *removed.get(control.name, {})}
        used = {names.get(label, label) for label in annotated}
        lacking = [label for label in control.labels if label not in used]
        if lacking and control.name in counts:
            text = f"“{control.name}”: {first_named(lacking)} {_has(lacking)} no example yet."
            yield Statement("labels", "note", text, "Annotate one, or two to be safe, and submit it.")
        foreign = {
            label: uses
            for label, uses in removed.get(control.name, {}).items()
            if names.get(label, label) not in control.labels
        }
        if foreign:
            text = (
                f"“{control.name}”: annotations have {first_named(foreign)}, which the label config does not "
                f"have: {counted(sum(foreign.values()), 'use')} that nothing is learned from."
            )
            yield Statement("labels", "note", text, "Bring the label back, or change these annotations.")


def _unusable(state: ProjectState) -> Iterator[Statement]:
    """Yield why nothing of the label config can be learned, where that is so."""
    if state.project.label_config and not state.controls:
        try:
            parse_label_config(state.project.label_config)
        except LabelConfigError as error:
            yield Statement("labels", "fault", str(error))


def _controls(state: ProjectState, settings: Settings) -> Iterator[Statement]:
    """Yield the controls on sound that are ignored, and those that verify regions."""
    try:
        config = read_label_config(state.project.label_config)
    except LabelConfigError:
        return  # reported as unusable
    for ignored in config.ignored:
        text = f"“{ignored.name}” ({ignored.tag}) is neither learned nor predicted: {ignored.reason}."
        yield Statement("labels", "note", text)
    for control in config.controls:
        if control.encoder and not _uses(settings, control.encoder):
            text = f"“{control.name}” asks for the encoder {control.encoder}, and another one is in use."
            yield Statement("labels", "note", text, f"ENCODER={control.encoder} takes it, for all controls.")
    for verification in config.verification_controls:
        if verification.role == "doubt":
            text = f"“{verification.name}”: it may judge the label of a region, or ask about its sound."
            remedy = (
                'Until its tag says earmark_role="verdict" or earmark_role="label", regions that it denies '
                "teach nothing about their label."
            )
            yield Statement("labels", "note", text, remedy)
        else:
            what = (
                "says whether a region's label is right" if verification.role == "verdict" else "corrects it"
            )
            text = f"“{verification.name}” {what}: it is learned from and not predicted."
            yield Statement("labels", "fine", text)


def _uses(settings: Settings, encoder: str) -> bool:
    """Whether the backend has an encoder; true where it is not known which one it has."""
    try:
        return encoder_identity(settings).startswith(f"{encoder}-")
    except EarmarkError:
        return True


def _renames(state: ProjectState) -> Iterator[Statement]:
    """Yield renamed labels."""
    for control in state.controls:
        names = state.names.get(control.name, {})
        pairs = [f"{old} is now {new}" for old, new in sorted(names.items())]
        if pairs:
            text = (
                f"“{control.name}”: {first_named(pairs)}; what was annotated and learned under the former "
                "name goes on under the new one."
            )
            yield Statement("renames", "fine", text)


def _disagreements(state: ProjectState) -> Iterator[Statement]:
    """Yield pairs of annotators who disagree, with the tasks."""
    summary: dict[str, Any] = state.project.annotated or {}
    names = summary.get("annotators", {})
    controls = {control.name for control in state.controls}
    for pair in summary.get("disagreements", []):
        if pair["control"] not in controls:
            continue
        first, second = (annotator_name(number, names) for number in pair["annotators"])
        tasks, count = pair["tasks"], pair["differing"]
        labels = sorted(pair["labels"], key=lambda label: -pair["labels"][label])
        listed = ", ".join(str(task) for task in tasks[:NAMED_AT_MOST])
        more = f" and {count - NAMED_AT_MOST} more" if count > NAMED_AT_MOST else ""
        text = (
            f"“{pair['control']}”: {first} and {second} disagree on {count} of the "
            f"{counted(pair['shared'], 'task')} that both annotated (about {first_named(labels)}): "
            f"{'task' if count == 1 else 'tasks'} {listed}{more}."
        )
        remedy = (
            "Agree on what the labels mean, and correct these tasks: each of the two counts half until then."
        )
        yield Statement("disagreement", "note", text, remedy, tuple(tasks[:NAMED_AT_MOST]))


def weights_awaited(settings: Settings) -> str:
    """Return the progress of the encoder weights' download, while trainings wait for it; else empty."""
    weights = awaited_weights(settings)
    if weights is None:
        return ""
    done, size = weights.progress(settings)
    if not done:
        return ""
    return (
        f"{weights.title}'s weights are being fetched, {done / 1e6:.0f} of {size / 1e6:.0f} MB are here: "
        "trainings and predictions wait for them."
    )


def annotator_name(number: int | None, names: dict[str, str]) -> str:
    """Return an annotator's name and user id in Label Studio, as far as known."""
    if number is None:
        return "an annotator without a number"
    name = names.get(str(number))
    return f"{name} (user {number})" if name else f"user {number}"


def _has(names: Collection[str]) -> str:
    return "has" if len(names) == 1 else "have"
