"""Is anything lost or counted twice when processes are killed at any time?

Annotators work in a simulated Label Studio that behaves as recorded: a webhook is sent once and waits one
second. On the way some events come twice or after later ones. Meanwhile ``kill -9`` strikes the API, the
workers, trainings at work and Redis, and Redis is flushed. Then the backend is left alone until nothing
waits; one last change follows, whose trainings are killed, too. In the end what the backend holds, and what
its newest head was trained on, is compared with what Label Studio holds.

The seed decides what is annotated, what is killed and after how long; how far everybody gets is up to the
machine. The exit code is 1 when anything was lost or counted twice, or the backend did not settle.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.chaos_annotators import CLIPS, Annotators, Wire
from benchmarks.chaos_backend import Backend
from benchmarks.chaos_verdict import Standing, expected_annotations, found_by_comparison, judge, standing
from benchmarks.common import progress, report
from benchmarks.simulated_label_studio import SimulatedLabelStudio
from benchmarks.webhook_load import CONFIG, make_clips
from earmark.labelstudio.client import client_for
from earmark.labelstudio.connection import connect_backend
from earmark.learning.synchronization import sync
from earmark.logs import configure_logging
from earmark.processes.stack import api_url
from earmark.services import Services
from earmark.store.models import Training, Version

PROJECTS, QUICK_PROJECTS = 2, 1
TOKEN = "0123456789abcdef0123456789abcdef01234567"
QUICK_SECONDS = 10.0
SETTLED_SECONDS, QUICK_SETTLED_SECONDS = 150.0, 25.0
"""The backend compares a project once a minute at most, and waits up to a minute after killed trainings."""
POLL_SECONDS = 0.5
SAY_EVERY_SECONDS = 10.0


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="what is annotated and killed [1]")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long anything is killed [2]")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="10 s and one project, compared with Label Studio when asked; ends within 60 s",
    )
    parser.add_argument("--folder", type=Path, help="keep data and logs there; it must be empty")
    arguments = parser.parse_args()
    seconds = QUICK_SECONDS if arguments.quick else 60 * arguments.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # children are stopped
    configure_logging("WARNING")  # of what runs in this process; the backend's own goes to its file
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty")
        sys.exit(0 if run(folder, arguments.seed, seconds, arguments.quick) else 1)


def run(folder: Path, seed: int, seconds: float, quick: bool) -> bool:
    """Annotate, kill, wait and compare; whether all is well."""
    (folder / "clips").mkdir()
    projects = QUICK_PROJECTS if quick else PROJECTS
    make_clips(folder / "clips", projects * CLIPS)
    with SimulatedLabelStudio(folder / "clips", TOKEN) as studio:
        numbers = [studio.create_project(f"Chaos {number}", CONFIG) for number in range(1, projects + 1)]
        annotators = [
            Annotators(studio, number, random.Random(f"{seed} annotators {number}"), place * CLIPS)
            for place, number in enumerate(numbers)
        ]
        for group in annotators:
            group.import_first()
        wires = {number: Wire(random.Random(f"{seed} wire {number}")) for number in numbers}
        with Backend(folder, studio.url, TOKEN) as backend, Services(backend.settings) as services:
            progress("the backend is up")
            connect(backend, studio, numbers)
            studio.send = lambda notice: wires[notice.project].send(notice)
            progress(f"{len(numbers)} projects, annotated for {seconds:.0f} s")
            annotate(annotators, backend, random.Random(f"{seed} blows"), seconds)
            for wire in wires.values():
                wire.deliver_rest()
            tally = sum((wire.tally for wire in wires.values()), Counter[str]())
            progress(f"{tally['sent']} events, {tally['lost']} of them lost; blows: {dict(backend.blows)}")
            limit = QUICK_SETTLED_SECONDS if quick else SETTLED_SECONDS
            took = [settle(services, studio, numbers, limit, asks=quick)]
            if took[0] is not None:
                change_last(annotators, wires, backend)
                strike_last(backend, random.Random(f"{seed} last blows"), len(numbers))
                took.append(settle(services, studio, numbers, limit, asks=quick))
            return tell(services, studio, backend, wires, took)


def connect(backend: Backend, studio: SimulatedLabelStudio, projects: Sequence[int]) -> None:
    """Connect the backend to each project, as ``earmark connect`` does."""
    client = client_for(backend.settings)
    for project in projects:
        address, login = api_url(backend.settings), backend.settings.login
        connect_backend(client, studio.url, project, address, "logmel-v0", login)


def annotate(
    annotators: Sequence[Annotators], backend: Backend, chance: random.Random, seconds: float
) -> None:
    """Annotate in all projects at once while the backend is tormented."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(annotators)) as pool:
        at_work = [pool.submit(group.work, stop) for group in annotators]
        try:
            backend.torment(chance, seconds, lambda: _raise_first(at_work))
        finally:
            stop.set()
    _raise_first(at_work)


def compare(services: Services, studio: SimulatedLabelStudio, projects: Sequence[int]) -> None:
    """Ask for the comparison with Label Studio, as ``earmark sync`` does."""
    for project in projects:
        sync(services, studio.project_uid(project))


def change_last(annotators: Sequence[Annotators], wires: Mapping[int, Wire], backend: Backend) -> None:
    """One last change in each project, after everything has settled."""
    backend.wait_until_up()
    for group in annotators:
        group.create()
    for wire in wires.values():
        wire.deliver_rest()


def strike_last(backend: Backend, chance: random.Random, trainings: int) -> None:
    """Kill the API, which has just stored a change, and then trainings; no later change makes up for it."""
    backend.strike("api")
    for _ in range(trainings):
        backend.strike("training", later=chance.random() / 4)  # early enough to hit


def settle(
    services: Services,
    studio: SimulatedLabelStudio,
    projects: Sequence[int],
    limit_seconds: float,
    asks: bool,
) -> float | None:
    """Wait until the backend has nothing left to do; the seconds that it took, or None.

    Parameters
    ----------
    asks
        Whether comparisons with Label Studio are asked for, now and whenever nothing else is left to do:
        those that the backend makes by itself are a minute apart.
    """
    started, reported = time.monotonic(), 0.0
    if asks:
        compare(services, studio, projects)
    while True:
        by_number = {number: look(services, studio, number) for number in projects}
        took = time.monotonic() - started
        if all(project_standing.settled for project_standing in by_number.values()):
            progress(f"settled after {took:.1f} s")
            return took
        if asks:
            compare(
                services,
                studio,
                [number for number, project_standing in by_number.items() if project_standing.idle],
            )
        if took - reported >= SAY_EVERY_SECONDS:
            reported = took
            for number, project_standing in by_number.items():
                progress(f"project {number}: {project_standing}")
        if took > limit_seconds:
            return None
        time.sleep(POLL_SECONDS)


def look(services: Services, studio: SimulatedLabelStudio, project: int) -> Standing:
    """How a project stands."""
    expected = expected_annotations(studio.annotations(project), studio.sounds(project))
    with services.database.read() as session:
        return standing(session, studio.project_uid(project), expected)


def tell(
    services: Services,
    studio: SimulatedLabelStudio,
    backend: Backend,
    wires: Mapping[int, Wire],
    took: Sequence[float | None],
) -> bool:
    """Compare and report; whether all is well."""
    verdicts, standings = [], []
    for number, wire in wires.items():
        now = look(services, studio, number)
        key = studio.project_uid(number)
        verdict = judge(services, key, now.expected, wire.answered, studio.uploads)
        standings.append(now)
        verdicts.append(verdict)
        for fault in verdict.faults:
            progress(f"project {number}: {fault}")
    with services.database.read() as session:
        trainings = Counter(session.scalars(select(Training.outcome)))
        versions = session.scalar(select(func.count()).select_from(Version)) or 0
        recovered = found_by_comparison(session)
    tally = sum((wire.tally for wire in wires.values()), Counter[str]())
    lost = sum(verdict.lost for verdict in verdicts)
    double_counted = sum(verdict.double_counted for verdict in verdicts)
    same_head = all(verdict.same_head for verdict in verdicts)
    progress("compared, and fitted again")
    good = None not in took and same_head and not lost and not double_counted
    if not good:
        progress(f"the end of the backend's log:\n{backend.last_lines()}")
    blows = dict(backend.blows)
    report(
        annotations_expected=sum(len(project_standing.taught) for project_standing in standings),
        annotations_held=sum(
            sum(not a.was_cancelled for a in project_standing.held.values()) for project_standing in standings
        ),
        trained_on=sum(project_standing.trained_on for project_standing in standings),
        kills=sum(count for blow, count in blows.items() if blow != "flush"),
        double_counted=double_counted,
        lost=lost,
        same_head=same_head,
        skipped_expected=sum(
            len(project_standing.expected) - len(project_standing.taught) for project_standing in standings
        ),
        killed={blow: count for blow, count in blows.items() if blow != "flush"},
        flushes=blows.get("flush", 0),
        webhooks_sent=tally["sent"],
        webhooks_lost=tally["lost"],
        duplicates=tally["repeated"],
        reordered=tally["reordered"],
        found_by_comparison=recovered,
        trainings=sum(trainings.values()),
        trainings_failed=trainings["failed"],
        versions=versions,
        rejected=trainings["rejected"],
        seconds_to_settle=took[0],
        seconds_to_settle_last=took[-1] if len(took) > 1 else None,
    )
    return good


def _raise_first(at_work: Sequence[Future[None]]) -> None:
    for future in at_work:
        if future.done():
            future.result()


if __name__ == "__main__":
    main()
