"""Faults and attacks of the siege benchmark, and the web server that they lead the backend to."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
import redis

from benchmarks.chaos_backend import PASSWORD, Backend
from benchmarks.webhook_load import CONFIG
from earmark.jobs.redis_server import connect
from earmark.processes.stack import api_url

DRIP_SECONDS = 1.0
FULL_SECONDS, HUNG_SECONDS = (1.0, 4.0), (0.5, 3.0)
SECOND_UP_SECONDS = 60.0
HALF_SENT, GUESSES, SLOW_TASKS = 40, 60, 4
INSIDE = (
    "http://169.254.169.254/latest/meta-data/a.wav",
    "http://localhost:{port}/inside.wav",
    "http://10.0.0.1/a.wav",
    "file:///proc/self/environ",
    "/proc/self/environ",
    "/etc/passwd",
    "/dev/zero",
)
"""Addresses that no task may reach; ``port`` is the trap's, which counts the requests that reach it."""


class Leaks:
    """Looks for secrets in all that leaves the backend. ``found``: where they were."""

    def __init__(self, *secrets: str) -> None:
        login = base64.b64encode(f"earmark:{PASSWORD}".encode()).decode()
        self._secrets = [secret.encode() for secret in (*secrets, PASSWORD, login)]
        self.found: list[str] = []

    def check(self, where: str, content: bytes) -> None:
        """Note the place when the content holds a secret."""
        if any(secret in content for secret in self._secrets):
            self.found.append(where)

    def check_answer(self, answer: httpx.Response) -> None:
        """Check an answer of the backend, headers included."""
        headers = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.check(f"answer to {answer.request.url.path}", headers.encode() + answer.content)


class Trap(http.server.ThreadingHTTPServer):
    """A stranger's web server: it checks what it is sent, drips, redirects, or answers nonsense.

    Attributes
    ----------
    inside
        Requests that were not to reach it under the name ``localhost``.
    """

    daemon_threads = True

    def __init__(self, leaks: Leaks) -> None:
        super().__init__(("127.0.0.1", 0), _TrapHandler)
        self.leaks, self.inside, self.closed = leaks, 0, threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Its address, at Label Studio's own host, which the backend may reach."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self.shutdown()
        self.server_close()


class _TrapHandler(http.server.BaseHTTPRequestHandler):
    server: Trap

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = f"{self.requestline}\n{self.headers}".encode() + self.rfile.read(length)
        self.server.leaks.check(f"request to a stranger: {self.path}", sent)
        with contextlib.suppress(OSError):
            if self.path.startswith("/slow"):
                self._drip()
            elif self.path.startswith("/inside"):
                self.server.inside += 1
                self._answer(200, b"RIFF", "audio/wav")
            elif self.path.startswith("/redirect"):
                self.send_response(302)
                self.send_header("Location", INSIDE[0])
                self.end_headers()
            elif self.path.startswith("/noise"):
                self._answer(200, random.randbytes(5000), "audio/wav")
            else:
                self._answer(200, b"<html>hello</html>", "text/html")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Leave the benchmark's progress alone."""

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.server.closed.wait(DRIP_SECONDS):
            self.wfile.write(b"x")
            self.wfile.flush()


class Attacks:
    """All attacks on a backend. ``breaches``: what should not have been possible, in words."""

    def __init__(self, backend: Backend, project_key: str, trap: Trap, leaks: Leaks) -> None:
        self._backend, self._key, self._trap, self._leaks = backend, project_key, trap, leaks
        self._url = api_url(backend.settings)
        self.breaches: list[str] = []

    def all(self) -> dict[str, Callable[[random.Random], None]]:
        """Return the attacks by name."""
        return {
            name.removeprefix("attack_"): getattr(self, name)
            for name in sorted(dir(self))
            if name.startswith("attack_")
        }

    def attack_slow_sounds(self, chance: random.Random) -> None:
        """Tasks whose sounds come a byte a second."""
        self._predict([f"{self._trap.url}/slow/{chance.random()}.wav" for _ in range(SLOW_TASKS)])

    def attack_addresses_inside(self, chance: random.Random) -> None:
        """Tasks whose sounds lie in private networks, in the kernel's files or outside the folders."""
        addresses = [address.format(port=self._trap.server_port) for address in INSIDE]
        before = self._trap.inside
        results = self._predict([*addresses, f"{self._trap.url}/redirect/{chance.random()}.wav"])
        if any(item.get("result") for item in results) or self._trap.inside != before:
            self.breaches.append("an address inside was reached")

    def attack_odd_addresses(self, chance: random.Random) -> None:
        """Surrogates, NUL and other odd characters, a web page and noise for sounds."""
        odd = [f"/data/upload/{chance.random()}\ud800.wav", "\x00", "http://[", "http://h\\@x/a.wav", " " * 9]
        pages = [f"{self._trap.url}/{kind}/{chance.random()}.wav" for kind in ("page", "noise")]
        if len(self._predict(odd + pages)) != len(odd + pages):
            self.breaches.append("odd addresses spoilt a whole request")

    def attack_foreign_host(self, chance: random.Random) -> None:
        """DNS rebinding: the right password under a foreign name, and a foreign page."""
        for headers in ({"Host": "attacker.example"}, {"Origin": "https://attacker.example"}):
            answer = self._send("GET", chance.choice(["/", "/versions", "/metrics"]), headers=headers)
            if answer is not None and answer.status_code != 400:
                self.breaches.append(f"{headers} was answered with {answer.status_code}")

    def attack_another_label_studio(self, chance: random.Random) -> None:
        """A request that gives a stranger's address for a project's Label Studio, with or without a token."""
        token = chance.choice(["", "f" * 40])
        body = {"project": self._key, "schema": CONFIG, "hostname": self._trap.url, "access_token": token}
        self._send("POST", "/setup", json=body)

    def attack_guessing(self, chance: random.Random) -> None:
        """Many wrong passwords, from the address of Label Studio."""
        for _ in range(GUESSES):
            answer = self._send("GET", "/versions", auth=("earmark", str(chance.random())))
            if answer is not None and answer.status_code not in (401, 429):
                self.breaches.append(f"a wrong password was answered with {answer.status_code}")

    def attack_half_sent(self, chance: random.Random) -> None:
        """Requests that stop in the middle, and connections that are left open."""
        begun = [b"", b"GET /", b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"]
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(HALF_SENT):
                port = self._backend.settings.port
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                stack.enter_context(connection)
                connection.sendall(begun[number % len(begun)])
            time.sleep(chance.uniform(1.0, 6.0))

    def attack_full_disk(self, chance: random.Random) -> None:
        """The API cannot write for some seconds."""
        victim = self._backend.child("api")
        if victim is not None:
            with contextlib.suppress(psutil.Error):
                victim.rlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                time.sleep(chance.uniform(*FULL_SECONDS))
                victim.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def attack_second_up(self, chance: random.Random) -> None:
        """Another ``up`` on the same data folder."""
        command = [sys.executable, "-m", "earmark", "up", "--port", "1"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            second = subprocess.run(
                command,
                env=self._backend.environment,
                cwd=self._backend.folder,
                capture_output=True,
                timeout=SECOND_UP_SECONDS,
                check=False,
            )
            self._leaks.check("output of a second up", second.stdout + second.stderr)
            if second.returncode == 0 or b"process" not in second.stderr:
                self.breaches.append("a second up did not refuse")

    def attack_doctor(self, chance: random.Random) -> None:
        """The doctor, amid all this: its output holds no secret and no traceback."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [sys.executable, "-m", "earmark", "doctor"],
                env=self._backend.environment,
                cwd=self._backend.folder,
                capture_output=True,
                timeout=SECOND_UP_SECONDS,
                check=False,
            )
            self._leaks.check("output of the doctor", done.stdout + done.stderr)
            if b"Traceback" in done.stderr:
                self.breaches.append("the doctor ended in a traceback")

    def attack_stub_job(self, chance: random.Random) -> None:
        """Remains of a job in Redis, as a race leaves them."""
        name = "learn-" + self._key.replace(".", "-")
        with contextlib.suppress(redis.RedisError), contextlib.closing(self._redis()) as client:
            if not client.exists(f"rq:job:{name}"):
                client.hset(f"rq:job:{name}", "earmark_taken_at", "1")

    def attack_hung_redis(self, chance: random.Random) -> None:
        """Redis hangs for some seconds."""
        self._backend.pause("redis", chance.uniform(*HUNG_SECONDS))

    def attack_flush(self, chance: random.Random) -> None:
        """Redis is flushed."""
        self._backend.strike("flush")

    def attack_kill(self, chance: random.Random) -> None:
        """``kill -9`` of the API, a worker, a training or Redis."""
        self._backend.strike(chance.choice(["api", "worker", "redis"]), which=chance.random())

    def attack_big_configs(self, chance: random.Random) -> None:
        """Label configs of megabytes, and bodies that are no JSON."""
        config = CONFIG.replace("<View>", f"<View><!-- {chance.random()} {'x' * 3_000_000} -->", 1)
        body = {"project": f"{chance.randrange(1000, 9999)}.1795198673", "schema": config}
        self._send("POST", "/setup", json=body)
        for content in (b"[" * 100_000, b"{\xed\xa0\x80", b"", b"null"):
            answer = self._send("POST", "/webhook", content=content)
            if answer is not None and answer.status_code not in (422, 503):
                self.breaches.append(f"{content[:10]!r} was answered with {answer.status_code}")

    def _predict(self, addresses: list[str]) -> list[dict[str, Any]]:
        """Request predictions as Label Studio does; an empty item for each where there is no answer."""
        tasks = [{"id": 10**6 + n, "data": {"audio": address}} for n, address in enumerate(addresses)]
        body = {"tasks": tasks, "project": self._key, "label_config": CONFIG}
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        headers = {"Content-Type": "application/json"}
        answer = self._send("POST", "/predict", content=content, headers=headers)
        if answer is None or not answer.is_success:
            return [{} for _ in addresses]
        return list(answer.json()["results"])

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request; None where nothing answers, as after a blow."""
        options.setdefault("auth", ("earmark", PASSWORD))
        try:
            with httpx.Client(trust_env=False, timeout=100.0) as client:
                answer = client.request(method, f"{self._url}{path}", **options)
        except httpx.HTTPError:
            return None
        self._leaks.check_answer(answer)
        return answer

    def _redis(self) -> redis.Redis:
        return connect(self._backend.settings, answer_seconds=2.0)
