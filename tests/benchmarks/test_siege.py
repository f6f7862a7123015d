"""The siege finds secrets wherever they leave, and its trap sees what it is sent."""

from __future__ import annotations

import httpx

from benchmarks.chaos_backend import PASSWORD
from benchmarks.siege_attacks import Leaks, Trap


def test_secrets_are_found_in_answers_and_in_requests_to_strangers() -> None:
    leaks = Leaks("a-secret-token")
    leaks.check("log", b"nothing to see")
    assert leaks.found == []
    request = httpx.Request("GET", "http://127.0.0.1/versions")
    leaks.check_answer(httpx.Response(200, headers={"X-Token": "a-secret-token"}, request=request))
    leaks.check_answer(httpx.Response(200, text=f"it is {PASSWORD}", request=request))
    with Trap(leaks) as trap, httpx.Client(base_url=trap.url, trust_env=False) as client:
        client.get("/page", headers={"Authorization": "Token a-secret-token"})
        client.post("/page", content=b"a-secret-token")
        assert client.get("/redirect").status_code == 302
        client.get("/inside.wav")
    assert len(leaks.found) == 4
    assert trap.inside == 1
