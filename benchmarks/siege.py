"""Faults and attacks beside good requests: which answers are late, what is lost, and which secrets leak.

Annotators work in a simulated Label Studio, and a steady stream of good requests asks for predictions.
Meanwhile faults and attacks come at random: sounds that never arrive, addresses of the inside, foreign
hosts, guessed passwords, half-sent requests, a full disk, a second backend, remains in Redis, kills. A
good request is late when its answer, asked for again where a kill cut it off, takes longer than the time
budget of predictions. What is lost is found as in ``benchmarks.chaos``: what the backend holds in the
end against what Label Studio holds. Every byte that leaves is searched for the token and the password:
answers, requests to strangers, logs, output of commands.

The seed decides what is done, and when; the exit code is 1 when anything was late, lost, leaked, or possible
that should not be.
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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.chaos import connect, look, settle
from benchmarks.chaos_annotators import CLIPS, Annotators, Wire
from benchmarks.chaos_backend import PASSWORD, Backend
from benchmarks.chaos_verdict import judge
from benchmarks.common import progress, report
from benchmarks.siege_attacks import Attacks, Leaks, Trap
from benchmarks.simulated_label_studio import SimulatedLabelStudio
from benchmarks.webhook_load import CONFIG, make_clips
from earmark.logs import configure_logging
from earmark.processes.stack import api_url
from earmark.services import Services

TOKEN = "5eed0123456789abcdef0123456789abcdef0123"
BUDGET_SECONDS = 20.0
SETTINGS = {
    "PREDICT_BUDGET_SECONDS": f"{BUDGET_SECONDS:g}",
    "DOWNLOAD_DEADLINE_SECONDS": "8",
    "REQUEST_TIMEOUT_SECONDS": "5",
}
QUICK_SECONDS = 15.0
SETTLED_SECONDS, QUICK_SETTLED_SECONDS = 150.0, 25.0
RECOVERED_SECONDS = 60.0
AT_ONCE = 3
PAUSE_SECONDS = (0.3, 1.5)
GOOD_CLIENTS, GOOD_PAUSE_SECONDS, REPEAT_SECONDS = 2, 0.3, 0.3


class GoodStream:
    """Clients that ask for predictions of the project's tasks, one request after another.

    Attributes
    ----------
    requests, late
        Requests that were answered, or given up; those that took longer than the budget.
    slowest
        Seconds of the slowest one.
    """

    def __init__(self, url: str, studio: SimulatedLabelStudio, project: int, leaks: Leaks) -> None:
        self._url, self._studio, self._project, self._leaks = url, studio, project, leaks
        self._lock = threading.Lock()
        self.requests, self.late, self.slowest = 0, 0, 0.0

    def work(self, chance: random.Random, stop: threading.Event) -> None:
        """Send one request after another."""
        while not stop.wait(GOOD_PAUSE_SECONDS):
            took = self._ask(chance)
            with self._lock:
                self.requests += 1
                self.late += took > BUDGET_SECONDS
                self.slowest = max(self.slowest, took)

    def _ask(self, chance: random.Random) -> float:
        """Request predictions of some tasks; the seconds until they came, repetitions included."""
        sounds = list(self._studio.sounds(self._project).items())
        chosen = chance.sample(sounds, min(len(sounds), chance.randint(1, 4)))
        tasks = [{"id": number, "data": {"audio": address}} for number, address in chosen]
        key = self._studio.project_uid(self._project)
        body: dict[str, Any] = {"tasks": tasks, "project": key, "label_config": CONFIG}
        started = time.monotonic()
        with httpx.Client(trust_env=False, auth=("earmark", PASSWORD), timeout=2 * BUDGET_SECONDS) as client:
            while time.monotonic() - started <= 2 * BUDGET_SECONDS:
                try:
                    answer = client.post(f"{self._url}/predict", json=body)
                    self._leaks.check_answer(answer)
                    if answer.is_success and len(answer.json()["results"]) == len(tasks):
                        break
                except httpx.HTTPError:
                    pass  # the API was killed: its successor answers
                time.sleep(REPEAT_SECONDS)
        return time.monotonic() - started


def main() -> None:
    """Run the benchmark; the last line is one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="what is done, and when [1]")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the siege lasts [10]")
    parser.add_argument("--quick", action="store_true", help="15 s of it; ends within 60 s")
    arguments = parser.parse_args()
    seconds = QUICK_SECONDS if arguments.quick else 60 * arguments.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # children are stopped
    configure_logging("ERROR")  # of what runs in this process; the backend's own goes to its file
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if run(Path(name), arguments.seed, seconds, arguments.quick) else 1)


def run(folder: Path, seed: int, seconds: float, quick: bool) -> bool:
    """Besiege, wait and compare; whether all is well."""
    (folder / "clips").mkdir()
    make_clips(folder / "clips", CLIPS)
    leaks = Leaks(TOKEN)
    with SimulatedLabelStudio(folder / "clips", TOKEN) as studio, Trap(leaks) as trap:
        project = studio.create_project("Siege", CONFIG)
        annotators = Annotators(studio, project, random.Random(f"{seed} annotators"), 0)
        annotators.import_first()
        wire = Wire(random.Random(f"{seed} wire"))
        with (
            Backend(folder, studio.url, TOKEN, **SETTINGS) as backend,
            Services(backend.settings) as services,
        ):
            connect(backend, studio, [project])
            studio.send = wire.send
            key = studio.project_uid(project)
            attacks = Attacks(backend, key, trap, leaks)
            stream = GoodStream(api_url(backend.settings), studio, project, leaks)
            progress(f"the siege begins: {seconds:.0f} s")
            done = besiege(backend, annotators, stream, attacks, seed, seconds)
            wire.deliver_rest()
            restarts = int(not recovers(backend))
            progress(f"{sum(done.values())} attacks: {dict(done)}")
            limit = QUICK_SETTLED_SECONDS if quick else SETTLED_SECONDS
            took = settle(services, studio, [project], limit, asks=quick)
            verdict = judge(
                services, key, look(services, studio, project).expected, wire.answered, studio.uploads
            )
            leaks.check("log of the backend", backend.log.read_bytes())
            for fault in (*verdict.faults, *attacks.breaches, *leaks.found):
                progress(fault)
            lost = verdict.lost if took is not None else max(1, verdict.lost)
            good = not (stream.late or lost or leaks.found or restarts or attacks.breaches)
            if not good:
                progress(f"the end of the backend's log:\n{backend.last_lines()}")
            report(
                good_requests=stream.requests,
                good_late=stream.late,
                lost=lost,
                leaks=len(leaks.found),
                restarts_needed=restarts,
                breaches=len(attacks.breaches),
                slowest_good_seconds=stream.slowest,
                budget_seconds=BUDGET_SECONDS,
                double_counted=verdict.double_counted,
                webhooks_sent=wire.tally["sent"],
                webhooks_lost=wire.tally["lost"],
                attacks=dict(done),
                seconds_to_settle=took,
            )
            return good


def besiege(
    backend: Backend,
    annotators: Annotators,
    stream: GoodStream,
    attacks: Attacks,
    seed: int,
    seconds: float,
) -> Counter[str]:
    """Annotate, ask and attack at the same time; how often each attack was made.

    Attacks are drawn from a shuffled deck, so that each kind comes as often as every other.
    """
    stop, done = threading.Event(), Counter[str]()
    with ThreadPoolExecutor(GOOD_CLIENTS + AT_ONCE + 1) as pool:
        work: list[Future[None]] = [pool.submit(annotators.work, stop)]
        work += [
            pool.submit(stream.work, random.Random(f"{seed} good {n}"), stop) for n in range(GOOD_CLIENTS)
        ]
        kinds, chance, deck = attacks.all(), random.Random(f"{seed} attacks"), list[str]()
        running: list[Future[None]] = []
        ends = time.monotonic() + seconds
        try:
            while time.monotonic() < ends and not backend.has_ended():
                for future in [future for future in (*work, *running) if future.done()]:
                    future.result()  # raises what went wrong in the benchmark itself
                running = [future for future in running if not future.done()]
                if len(running) < AT_ONCE:
                    if not deck:
                        deck = sorted(kinds)
                        chance.shuffle(deck)
                    name = deck.pop()
                    done[name] += 1
                    running.append(pool.submit(kinds[name], random.Random(f"{seed} {name} {done[name]}")))
                time.sleep(chance.uniform(*PAUSE_SECONDS))
        finally:
            stop.set()
    for future in (*work, *running):
        future.result()
    return done


def recovers(backend: Backend) -> bool:
    """Whether the backend is ready again by itself."""
    deadline = time.monotonic() + RECOVERED_SECONDS
    with httpx.Client(trust_env=False, auth=("earmark", PASSWORD), timeout=10.0) as client:
        while time.monotonic() < deadline and not backend.has_ended():
            try:
                answer = client.get(f"{api_url(backend.settings)}/ready")
                if answer.is_success:
                    return True
                progress(f"not ready: {answer.json()['faults']}")
            except httpx.HTTPError:
                pass  # it is being started
            time.sleep(1.0)
    return False


if __name__ == "__main__":
    main()
