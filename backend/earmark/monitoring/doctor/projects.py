"""Checks of Label Studio and its projects: token, webhooks, trainings, bad sounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import httpx

from earmark.audio.addresses import shown
from earmark.encoders import encoder_identity
from earmark.encoders.registry import class_list, class_names
from earmark.errors import EarmarkError, LabelConfigError, LabelStudioError
from earmark.labels.class_matching import match_labels
from earmark.labels.config_changes import with_former_names
from earmark.labels.control import Control
from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.connection import check_webhook
from earmark.labelstudio.credentials import Credentials, is_personal_access_token
from earmark.labelstudio.health import check_label_studio
from earmark.monitoring.doctor.finding import Finding, Level
from earmark.monitoring.doctor.stored_rows import read_rows
from earmark.monitoring.project_statements import Statement, project_statements, task_address
from earmark.monitoring.project_status import ProjectState, project_states
from earmark.settings import Settings
from earmark.store.access import accept_hint
from earmark.store.models import Project
from earmark.store.sound_errors import latest_faults, latest_truncated
from earmark.tls import tls_context

TIMEOUT_SECONDS = 5.0
SHOWN_FAULTS = 5
HEADLINES = ("waiting", "training")
"""Kinds of statements that are shown together with the version that answers."""


@lru_cache
def label_studio_fault(url: str) -> str:
    """Return one sentence on why a Label Studio cannot be used, or an empty text; cached for one report."""
    try:
        check_label_studio(url)
    except LabelStudioError as error:
        return str(error)
    return ""


def label_studio(settings: Settings) -> Iterator[Finding]:
    """Check that Label Studio answers and accepts the token."""
    url, key = settings.label_studio_url, settings.api_key
    if not url:
        yield Finding(
            "note",
            "Label Studio",
            "address not set: what Label Studio sends on connecting is used, with the creator's token",
            "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY if sounds or predictions are refused.",
        )
        return
    if fault := label_studio_fault(url):
        yield Finding("fault", "Label Studio", fault, "Check LABEL_STUDIO_URL.")
        return
    yield Finding("fine", "Label Studio", f"answers at {url}")
    if not key:
        yield Finding(
            "fault", "token", "LABEL_STUDIO_API_KEY is not set", f"Make one at {url}/user/account and set it."
        )
        return
    kind = "personal access token" if is_personal_access_token(key) else "legacy token"
    try:
        answer = httpx.get(
            f"{url}/api/current-user/whoami",
            headers=Credentials(url, key).headers(),
            timeout=TIMEOUT_SECONDS,
            verify=tls_context(),
        )
    except (EarmarkError, httpx.HTTPError) as error:
        yield Finding("fault", "token", f"{kind}: {error}", f"Make a new one at {url}/user/account.")
        return
    if answer.status_code == httpx.codes.OK:
        try:
            user = answer.json()
        except ValueError:
            user = None
        if isinstance(user, dict):
            yield Finding("fine", "token", f"{kind} of {user.get('email', 'an unnamed user')}")
        else:
            text = f"{kind}: what answers at {url} does not answer as Label Studio does"
            yield Finding("fault", "token", text, "Check LABEL_STUDIO_URL.")
    else:
        legacy = " Legacy tokens are off by default in Label Studio: make a personal access token."
        yield Finding(
            "fault",
            "token",
            f"{kind} refused: HTTP {answer.status_code}",
            f"Make a new one at {url}/user/account.{legacy if kind.startswith('legacy') else ''}",
        )


def projects(settings: Settings) -> Iterator[Finding]:
    """Check each project's training, webhooks and labels; list sounds that failed."""
    identity = _identity(settings)
    rows = read_rows(
        settings,
        lambda session: (
            project_states(session, identity),
            latest_faults(session, SHOWN_FAULTS),
            latest_truncated(session, SHOWN_FAULTS),
        ),
    )
    states, faults, crowded = rows or ((), (), ())
    for state in states:
        project = state.project
        statements = project_statements(state, settings)
        yield _training(state, [s for s in statements if s.kind in HEADLINES])
        for statement in statements:
            if statement.kind not in HEADLINES:
                yield _finding(state, settings, statement)
        yield from _labels(settings, state)
        yield from _webhook(settings, project)
        yield from _offer(project)
    if not states:
        remedy = "Settings, Model, Connect Model in Label Studio."
        yield Finding("note", "projects", "none has connected yet", remedy)
    for fault in faults:
        yield Finding("note", "bad sound", fault.detail)
    for fault in crowded:
        yield Finding("note", "regions", fault.detail)


def _training(state: ProjectState, statements: Sequence[Statement]) -> Finding:
    """Report the version that answers for a project, and why there is no newer one."""
    project, active = state.project, state.active
    subject = f"project {project.project_id}"
    answers = f"{active.name}, from {active.annotations} annotations" if active else "not trained yet"
    text = f"{project.title or 'untitled'}: {answers}"
    if project.failures:
        text = f"{text}; the last {project.failures} trainings failed"
        if state.training and state.training.outcome == "failed":
            text = f"{text}: {state.training.traceback.strip() or state.training.detail}"
        return Finding("fault", subject, text, "It is tried again by itself; report what is not your own.")
    level: Level = (
        "fault" if any(s.level == "fault" for s in statements) else "note" if statements else "fine"
    )
    remedy = " ".join(statement.remedy for statement in statements if statement.remedy)
    return Finding(level, subject, "; ".join([text, *(s.text for s in statements)]), remedy)


def _finding(state: ProjectState, settings: Settings, statement: Statement) -> Finding:
    text = statement.text
    if statement.tasks and (address := task_address(state, settings, statement.tasks[0])):
        text = f"{text} ({address})"
    return Finding(
        statement.level, f"project {state.project.project_id} {statement.kind}", text, statement.remedy
    )


def _identity(settings: Settings) -> str | None:
    try:
        return encoder_identity(settings)
    except EarmarkError:
        return None  # reported by the encoder check


def _labels(settings: Settings, state: ProjectState) -> Iterator[Finding]:
    """Report the encoder's classes that labels match; no finding for an encoder without classes."""
    project, identity = state.project, _identity(settings)
    if not project.label_config or identity is None or not class_names(identity):
        return
    try:
        controls = parse_label_config(project.label_config)
    except LabelConfigError:
        return  # one of the project's statements
    for control in with_former_names(controls, state.names):
        yield _control_labels(project, control, identity)


def _control_labels(project: Project, control: Control, identity: str) -> Finding:
    subject = f"project {project.project_id} {control.name}"
    match = match_labels(control, class_names(identity))
    matched = "; ".join(
        f"{label}{f' (formerly {match.former[label]})' if label in match.former else ''}"
        f" -> {', '.join(match.names(label) or ())}"
        for label in match.classes
    )
    if not match.unmatched:
        return Finding("fine", subject, matched)
    unmatched = f"no class of the encoder has the name: {', '.join(match.unmatched)}"
    nearest = "; ".join(
        f"{label}: {', '.join(names)}" for label, names in match.suggestions().items() if names
    )
    return Finding(
        "note",
        subject,
        f"{matched}; {unmatched}" if matched else unmatched,
        'To have these found before the first annotation, add predicted_values="…" to the '
        f"{control.type.label_tag}, with names of the encoder's classes ({class_list(identity)})."
        + (f" Nearest names: {nearest}." if nearest else ""),
    )


def _offer(project: Project) -> Iterator[Finding]:
    """Report an unconfirmed address or token of Label Studio that a request offered."""
    if not project.offered_hostname:
        return
    stored, offered = shown(project.hostname), shown(project.offered_hostname)
    change = f"its address as {offered}" if stored != offered else "another token"
    yield Finding(
        "note",
        f"project {project.project_id} address",
        f"a request gave {change}, which was refused: {stored} and its token are used",
        f"If Label Studio moved there: {accept_hint(project)}; else see who reaches this port.",
    )


def _webhook(settings: Settings, project: Project) -> Iterator[Finding]:
    """Check the webhook: a backend shown as connected may have none (see check_webhook)."""
    subject = f"project {project.project_id}"
    url = settings.label_studio_url or project.hostname
    if fault := label_studio_fault(url):
        if not settings.label_studio_url:  # else reported by the check of Label Studio
            yield Finding("fault", f"{subject} webhook", fault)
        return
    try:
        client = client_for(settings, project)
        with explained(url):
            backends = client.ml.list(project=project.project_id)
        for backend in backends:
            check_webhook(client, url, project.project_id, backend.url, settings.login)
    except LabelStudioError as error:
        yield Finding("fault", f"{subject} webhook", str(error))
    else:
        text = "registered in Label Studio" if backends else "no backend is connected in Label Studio"
        yield Finding("fine" if backends else "note", f"{subject} webhook", text)
