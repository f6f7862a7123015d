"""Import command: list, check and import the sounds of a source, then write the report."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from earmark.errors import ConfigurationError, EarmarkError, ProjectNameError
from earmark.importing import annotators
from earmark.importing.console import counting, say, summary
from earmark.importing.destinations import Addresses, Destination, LocalFiles, Uploads
from earmark.importing.import_checks import (
    Where,
    check_options,
    check_required_fields,
    check_reserved_fields,
    check_uploads_allowed,
)
from earmark.importing.importer import OTHER_LABELS, Importer, Outcome
from earmark.importing.labels import (
    LabelsAs,
    Marking,
    find_controls,
    groups_of,
    label_lines,
    make_label_config,
)
from earmark.importing.models import Sound
from earmark.importing.next_steps import next_steps
from earmark.importing.parallel_checks import check_all
from earmark.importing.quality_rules import Rules, Verdict, apply_rules, sounds_of
from earmark.importing.report import reasons_of, state_of, write_report
from earmark.importing.sources import Source, kind_of, list_sounds
from earmark.importing.verification import (
    find_verdict,
    has_denials,
    labels_in,
    region_labels,
    with_denials,
)
from earmark.labelstudio.client import client_for, explained
from earmark.labelstudio.projects import audio_data_key, create_project, find_project, writable_key
from earmark.settings import Settings
from earmark.storage.atomic_files import key_of
from earmark.wording import counted

ALL_IN, SOME_LEFT_OUT, INTERRUPTED = 0, 1, 130
IN_PARTS = (
    "What comes in was not annotated from beginning to end, so it has no annotation, and a tag of a longer "
    "part is left out. Where it was annotated in stretches, give the same --split."
)


@dataclass(frozen=True)
class Request:
    """Options of an import. ``where`` None means URLs for lists of URLs and buckets, else uploads."""

    source: Source
    project: str
    create: bool = False
    label_config: Path | None = None
    labels_as: LabelsAs = "as-given"
    where: Where | None = None
    split_seconds: float | None = None
    rules: Rules = field(default_factory=Rules)
    dry_run: bool = False
    report: Path | None = None
    verify: bool = False
    """Whether the labels are to be judged: they become predictions, all of them regions."""


def run(request: Request, settings: Settings) -> int:
    """Run an import; return the exit code: 0 all imported, 1 some left out, 130 stopped by Ctrl-C.

    Raises
    ------
    EarmarkError
        Nothing could be imported, or the import was interrupted; running it again resumes.
    """
    session = _Session(request, settings)
    with _stoppable() as should_stop:
        return session.run(should_stop)


class _Session:
    def __init__(self, request: Request, settings: Settings) -> None:
        self._request, self._settings = request, settings
        self._folder = settings.data_dir / "imports"
        self._url = str(settings.label_studio_url)
        self._passed_over: list[str] = []

    def run(self, should_stop: Callable[[], bool]) -> int:
        request = self._request
        where = request.where or _default_destination(request.source)
        check_options(request.split_seconds, request.rules.expansion, where)
        with explained(self._url):  # an expired token fails here already
            self._client = client_for(self._settings)
        # The project first: a wrong token fails at once, not after a thousand files were read.
        project = self._find_project()
        if project is None and not request.create:
            raise ProjectNameError(
                f"Label Studio at {self._url} has no project '{request.project}': check, or add --create."
            )
        if project is not None:
            check_uploads_allowed(project.label_config or "<View/>", where)
        listed = list_sounds(request.source, self._passed_over.append, lambda line: say(f"  {line}"))
        with counting("checking", len(listed)) as count:
            checked = check_all(listed, self._settings, count, should_stop, where == "uploads")
        if checked is None:
            say("Stopped while checking; nothing was written. Run it again: what was checked is remembered.")
            return INTERRUPTED
        verdicts = apply_rules(checked, request.rules)
        sounds = sounds_of(verdicts, request.rules, request.split_seconds)
        new = f"a new project '{request.project}'"
        if project is None and not sounds:  # faulty files matter more than the label config now
            return self._end(new, verdicts, Outcome())
        if project is None:
            sounds = with_denials(sounds, labels_in(sounds), request.verify)
            config = self._new_config(sounds)
        else:
            config = project.label_config
            sounds = with_denials(sounds, region_labels(config), request.verify)
            if request.label_config is not None:
                say("The project is there already: its label config stays as it is.")
        marking, data_key = self._marking(config, sounds)
        check_reserved_fields(sounds, data_key)
        check_required_fields(config, where, sounds, data_key)
        if project is None and not request.dry_run:
            project = self._create_project(config)
        project_id = project.id if project else None
        destination = self._destination(where, project_id)
        copies = "duplicate" in request.rules.keep
        importer = Importer(
            self._client, self._url, project_id, data_key, destination, self._folder, marking, copies
        )
        todo, outcome = importer.plan(sounds)
        _remark_parts(sounds, outcome)
        if not request.dry_run:
            try:
                with counting("importing", len(todo), "tasks") as count:
                    importer.run(todo, outcome, on_progress=count, should_stop=should_stop)
            except KeyboardInterrupt:
                outcome.interrupted = True
            except EarmarkError:
                say(f"{outcome.imported} tasks were imported before this; run it again to go on.")
                raise
        code = self._end(f"'{project.title}' (project {project_id})" if project else new, verdicts, outcome)
        if project is not None and not request.dry_run:
            say(f"  project {self._url}/projects/{project.id}/data")
            if outcome.imported or outcome.already_there:
                annotated = any("annotations" in marking.part(sound) for sound in todo) if marking else False
                for line in next_steps(
                    self._client, self._url, project.id, project.title, annotated=annotated
                ):
                    say(f"  {line}")
        return code

    def _end(self, name: str, verdicts: Sequence[Verdict], outcome: Outcome) -> int:
        """Print the summary, write the report, and return the exit code."""
        faulty = reasons_of(verdicts, outcome)
        summary(name, outcome, faulty, dry_run=self._request.dry_run)
        new = [v for v in verdicts if state_of(v, outcome.states) in ("imported", "to import")]
        lost, cut = sum(verdict.lost for verdict in new), sum(verdict.cut for verdict in new)
        if lost:
            say(f"  left out: {counted(lost, 'region')} beyond the end of the sound; see the report")
        if cut:
            say(
                f"  cut at the end of the sound: {counted(cut, 'region')} that went beyond it; see the report"
            )
        unplaced = outcome.labels_lost
        if unplaced:
            say(f"  left out: {counted(unplaced, 'label')} of parts annotated otherwise; see the report")
        others = sum(OTHER_LABELS in remarks for remarks in outcome.remarks.values())
        if others:
            say(f"  left as they are: {counted(others, 'sound')} with other annotations; see the report")
        outside = [verdict for verdict in verdicts if any(kind == "band" for kind, _ in verdict.faults)]
        if outside:
            say(
                f"  ! {len(outside)} sounds have most of their energy above 16 kHz or below 50 Hz, which "
                f"encoders do not take in, such as {outside[0].item.fname}; see the report"
            )
        for sentence in self._passed_over:
            say(f"  ! {sentence}")
        folder = self._request.report or self._folder / f"report-{_slug(self._request.project)}"
        try:
            report = write_report(folder, name, verdicts, outcome, self._passed_over)
        except OSError as error:
            raise ConfigurationError(
                f"The report cannot be written to {folder} ({error.strerror}): "
                "give another folder by --report."
            ) from error
        say(f"  report  {report.page} and {report.table.name}")
        if outcome.interrupted:
            return INTERRUPTED
        return SOME_LEFT_OUT if faulty or outcome.left_out or lost or unplaced else ALL_IN

    def _new_config(self, sounds: Sequence[Sound]) -> str:
        path = self._request.label_config
        if path is not None:
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"The label config {path} cannot be read: {error}.") from error
        groups = groups_of(sounds)
        if not any(group.files for group in groups.values()):
            raise ConfigurationError(
                "A new project needs labels: give --label-config FILE, such as label_config.xml, "
                "or a source with labels."
            )
        for line in label_lines(groups):
            say(f"  {line}")
        return make_label_config(groups, self._request.verify or has_denials(sounds))

    def _marking(self, config: str, sounds: Sequence[Sound]) -> tuple[Marking | None, str]:
        """Return the label conversion, None without labels, and the task field with the address."""
        labels_as, groups = self._request.labels_as, groups_of(sounds)
        if labels_as == "none" or not any(sound.marks for sound in sounds):
            return None, audio_data_key(config)
        if not any(group.files for group in groups.values()):  # annotated, but without any label
            return Marking({}, labels_as, self._accounts(sounds)), audio_data_key(config)
        controls = find_controls(config, groups)
        verdict = None
        if self._request.verify or has_denials(sounds):
            verdict = find_verdict(config, region_labels(config))
        marking = Marking(controls, labels_as, self._accounts(sounds), verdict)
        names = [record.annotator for sound in sounds for record in sound.marks if record.annotator]
        if labels_as != "predictions":
            self._passed_over += annotators.account_warnings(names, marking.accounts)
        first = next(iter(controls.values()), None)
        return marking, writable_key(first.data_key) if first else audio_data_key(config)

    def _accounts(self, sounds: Sequence[Sound]) -> annotators.Accounts:
        named = any(record.annotator for sound in sounds for record in sound.marks)
        return annotators.find_accounts(self._client, self._url) if named else annotators.NO_ACCOUNTS

    def _find_project(self) -> Any | None:
        """Find the project, after any import on this machine that is creating it."""
        with self._title_lock() if self._request.create else nullcontext():
            return find_project(self._client, self._url, self._request.project)

    def _title_lock(self) -> FileLock:
        """Cross-process lock of a project's title."""
        self._folder.mkdir(parents=True, exist_ok=True)
        title = key_of(f"{self._url} {self._request.project}")[:16]
        return FileLock(self._folder / f"{title}.lock")

    def _create_project(self, config: str) -> Any:
        """Create the project, unless another import on this machine has created it in the meantime."""
        title = self._request.project
        with self._title_lock():
            project = find_project(self._client, self._url, title)
            return project or create_project(self._client, self._url, title, config)

    def _destination(self, where: Where, project_id: int | None) -> Destination:
        if where == "urls":
            return Addresses()
        if where == "uploads":
            return Uploads(self._url, self._settings.api_key or "", project_id)
        root = self._settings.label_studio_local_files_document_root
        if root is None:
            raise ConfigurationError(
                "--local-files needs LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT or --document-root: "
                "the folder that Label Studio serves local files from."
            )
        return LocalFiles(self._client, self._url, project_id, root)


def _default_destination(source: Source) -> Where:
    return "urls" if source.base_url or kind_of(source.name) in ("bucket", "urls") else "uploads"


def _remark_parts(sounds: Iterable[Sound], outcome: Outcome) -> None:
    """Add a remark to sounds that lose an annotation because it covers only a part of them."""
    for sound in sounds:
        if sound.partly and outcome.states.get(sound.listed_name) in ("to import", "to complete"):
            outcome.labels_lost += sound.lost
            outcome.remark(sound, IN_PARTS)


def _slug(project: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in project).strip("-")[:50] or "project"


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C: yield a function that returns whether it was pressed; a second one stops at once."""
    stop_requested = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stop_requested
        if stop_requested:
            raise KeyboardInterrupt
        stop_requested = True
        say("Stopping after this batch; Ctrl-C again stops at once.")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: stop_requested
    finally:
        signal.signal(signal.SIGINT, previous)
