"""Promoting and rolling back on the page: confirmed, from our own page alone, and written down."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from earmark.services import Services
from earmark.store.models import Activation, Version
from earmark.store.registry import active_version


def active(services: Services, key: str) -> str:
    with services.database.read() as session:
        version = active_version(session, key, services.encoder_identity())
        assert version is not None
        return version.name


def causes(services: Services, key: str) -> list[str]:
    with services.database.read() as session:
        query = select(Activation.cause).where(Activation.project_key == key).order_by(Activation.id)
        return list(session.scalars(query))


def test_a_version_is_served_and_taken_back(client: TestClient, project: str, services: Services) -> None:
    page = f"/projects/{project}"
    question = client.get(f"{page}/serve?version=logmel-v28").text
    assert "Serve logmel-v28?" in question
    assert active(services, project) == "logmel-v30", "asking changes nothing"
    done = client.post(f"{page}/serve?version=logmel-v28")
    assert done.url.path == page
    assert "logmel-v28 answers now" in done.text
    assert active(services, project) == "logmel-v28"
    assert "Go back to logmel-v30?" in client.get(f"{page}/rollback").text
    assert active(services, project) == "logmel-v28"
    client.post(f"{page}/rollback?version=logmel-v30")
    assert active(services, project) == "logmel-v30"
    assert causes(services, project)[-2:] == ["promoted", "rolled back"]
    assert "logmel-v28, promoted" in client.get(page).text


def test_the_name_of_an_ensemble_holds_a_plus(client: TestClient, project: str, services: Services) -> None:
    with services.database.write() as session:
        version = session.scalars(select(Version).where(Version.name == "logmel-v28")).one()
        version.name = "yamnet+logmel-v28"
    page = client.get(f"/projects/{project}")
    (link,) = re.findall(r'href="([^"]*/serve\?version=[^"]*logmel-v28)"', page.text)
    question = client.get(str(page.url.join(link)))
    assert "Serve yamnet+logmel-v28?" in question.text
    (form,) = re.findall(r'action="([^"]*)"', question.text)
    done = client.post(str(question.url.join(form)))
    assert "yamnet+logmel-v28 answers now" in done.text
    client.post(f"/projects/{project}/rollback?version=logmel-v30")
    assert "answers now." not in client.get(str(done.url)).text, "no longer true"


def test_a_rollback_that_leads_elsewhere_by_now(client: TestClient, project: str, services: Services) -> None:
    answer = client.post(f"/projects/{project}/rollback?version=logmel-v2")
    assert answer.status_code == 409
    assert active(services, project) == "logmel-v30"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {},
    ],
)
def test_forms_of_other_sites_are_refused(
    headers: dict[str, str], client: TestClient, project: str, services: Services
) -> None:
    del client.headers["Sec-Fetch-Site"]
    for action in ("serve?version=logmel-v28", "rollback?version=logmel-v29"):
        assert client.post(f"/projects/{project}/{action}", headers=headers).status_code in (400, 403)
    assert active(services, project) == "logmel-v30"


def test_a_browser_that_sends_the_origin_alone(client: TestClient, project: str, services: Services) -> None:
    del client.headers["Sec-Fetch-Site"]
    client.post(f"/projects/{project}/serve?version=logmel-v28", headers={"Origin": "http://testserver"})
    assert active(services, project) == "logmel-v28"


@pytest.mark.parametrize("path", ["serve?version=none-v9", "rollback?version=x"])
def test_what_is_not_there(path: str, client: TestClient) -> None:
    assert client.get(f"/projects/9.9/{path}").status_code == 409
    assert client.post(f"/projects/9.9/{path}").status_code == 409
