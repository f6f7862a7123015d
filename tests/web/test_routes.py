"""Pages: what they show, that nothing from outside runs in them, and the sounds and pictures beside them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from benchmarks.page_data import KEY, seed_project
from earmark.api.app import create_app
from earmark.head.model import Head
from earmark.services import Services
from earmark.settings import Settings
from earmark.store.models import Annotation, Project, Task, Training
from earmark.store.projects import remember_project
from earmark.store.registry import register_version
from earmark.web.media import Media, tiles
from earmark.web.rows import LONGEST_SOUND_SECONDS
from earmark.web.version_points import MEASURED_FROM
from tests.lessons import config

PAGES = ("", "/label?control=label&label=Owl", "/tasks/5", "/serve?version=logmel-v3", "/rollback")


def test_before_anything(client: TestClient) -> None:
    text = client.get("/").text
    assert "No project has connected yet" in text
    assert "redis" in text, "no worker runs in this test"
    assert client.get("/projects/1.2").status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_pages_load_nothing_but_own_files(page: str, client: TestClient, project: str) -> None:
    answer = client.get(f"/projects/{project}{page}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.text)
    assert re.findall(r"<script(?![^>]* src=)", answer.text) == []
    for address in re.findall(r'(?:src|href)="([^"]+)"', answer.text):
        assert address.startswith((".", "data:", "http://127.0.0.1:8080/", "#")), address


def test_links_of_pages_lead_somewhere(client: TestClient, project: str) -> None:
    start = f"/projects/{project}"
    html = client.get(start).text
    followed = set()
    for link in set(re.findall(r'(?:href|src)="(\.\.?/[^"]*)"', html)):
        answer = client.get(str(client.base_url.join(start).join(link.replace("&amp;", "&"))))
        assert answer.status_code == 200, link
        followed.add(answer.headers["content-type"].partition(";")[0])
    assert followed >= {"text/html", "image/png", "text/css", "text/javascript", "application/json"}


def test_what_a_project_shows(client: TestClient, services: Services) -> None:
    with services.database.write() as session:
        remember_project(session, KEY, title="<script>alert(1)</script>", label_config=config("Low", "High"))
        identity = services.encoder_identity()
        head = Head(identity, {}).to_bytes()
        metrics = {"tags": {"f1": 0.81, "per_class": {"Low": {"f1": 0.9}}}, "label": {"f1": float("nan")}}
        register_version(session, KEY, "logmel", identity, head, metrics, 12)
        register_version(session, KEY, "logmel", identity, head, {}, 13, None, "“tags” would get worse.")
        session.add(
            Training(
                project_key=KEY,
                started_at=1.0,
                finished_at=2.0,
                outcome="failed",
                detail="ValueError: <odd>",
                traceback="Traceback",
            )
        )
    text = client.get(f"/projects/{KEY}").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>logmel-v1</b> answers" in text
    assert "“tags” would get worse." in text
    assert "ValueError: &lt;odd&gt;" in text
    assert "Low (90 %)" in text
    assert "81 %" in text
    assert "&lt;script&gt;" in client.get("/").text


def test_a_conflict_names_the_labels_that_differ_in_its_task(client: TestClient, project: str) -> None:
    text = client.get(f"/projects/{project}").text
    row = text.partition('id="conflict-15"')[2].partition("</li>")[0]
    assert "about Jay in “tags”" in row
    assert "Owl" not in row.partition("links")[0]


def test_no_quality_of_labels_with_few_recordings(client: TestClient, services: Services) -> None:
    per_class = {
        label: {"f1": 0.33, "threshold": 0.27, "recordings": recordings}
        for label, recordings in (("Low", MEASURED_FROM - 1.0), ("High", float(MEASURED_FROM)))
    }
    with services.database.write() as session:
        remember_project(session, KEY, title="Tones", label_config=config("Low", "High", choice="multiple"))
        identity = services.encoder_identity()
        metrics = {name: {"f1": 0.5, "per_class": per_class} for name in ("label", "tags")}
        head = Head(identity, {}).to_bytes()
        register_version(session, KEY, "logmel", identity, head, metrics, 12)
    text = client.get(f"/projects/{KEY}").text
    rows = dict(re.findall(r"label=(\w+)\">\w+</a></th>(.*?)</tr>", text, re.DOTALL))
    assert "33 %" in rows["High"]
    assert "33 %" not in rows["Low"]
    assert f"measured from {MEASURED_FROM} recordings on" in text
    assert text.count(">0.27</td>") == 2, "of the tags: no threshold decides about regions"


def test_marks_have_the_colours_of_the_label_config(
    client: TestClient, project: str, services: Services
) -> None:
    with services.database.write() as session:
        row = session.get_one(Project, project)
        plain, coloured = '<Label value="Wren"', '<Label background="#a1b2c3" value="Wren"'
        row.label_config = row.label_config.replace(plain, coloured)
    text = client.get(f"/projects/{project}/tasks/5").text
    assert 'fill="#a1b2c3"' in text
    row_of = text.partition('data-label="Wren"')[2].partition("</span>")[0]
    assert 'fill="#a1b2c3"' in row_of
    assert 'fill="var(--c' in client.get(f"/projects/{project}").text


@pytest.mark.parametrize("page", ["serve?version=logmel-v2", "serve?version=none", "tasks/9999"])
def test_the_path_names_the_project(client: TestClient, project: str, page: str) -> None:
    path = client.get(f"/projects/{project}/{page}").text.partition("</nav>")[0]
    assert ">Forest at night</a>" in path


def test_one_task_and_no_version(client: TestClient, services: Services, tmp_path: Path) -> None:
    seed_project(services, tmp_path / "made", tasks=1, versions=0)
    text = client.get(f"/projects/{KEY}").text
    assert "<b>logmel-v0</b> answers, by the labels" in text
    assert "data-curve=" in text, "what was suggested before any training is on the curve, too"


def test_a_spectrogram_and_a_sound(client: TestClient, project: str) -> None:
    address = f"/projects/{project}/tasks/5"
    picture = client.get(f"{address}/spectrogram.png?from=0&to=10")
    assert picture.content.startswith(b"\x89PNG")
    assert len(picture.content) < 12_000
    assert client.get(f"{address}/spectrogram.png?from=5&to=5").status_code == 422
    first, last = tiles(0.0, LONGEST_SOUND_SECONDS)
    for start, end in (first, last):
        assert client.get(f"{address}/spectrogram.png?from={start}&to={end}&width=512").status_code == 200
    assert client.get(f"{address}/spectrogram.png?from=0&to=5&width=7").status_code == 422
    sound = client.get(f"{address}/sound", headers={"Range": "bytes=0-3"})
    assert (sound.status_code, sound.content) == (206, b"fLaC")
    assert sound.headers["content-type"].startswith("audio/")
    curves = client.get(f"{address}/curves?from=0&to=10").json()
    assert curves["version"] == "logmel-v30"


def test_a_file_that_is_no_sound_is_never_sent(
    client: TestClient, project: str, services: Services, tmp_path: Path
) -> None:
    (tmp_path / "secret.wav").write_text("a password")
    with services.database.write() as session:
        data = {"audio": str(tmp_path / "secret.wav")}
        session.add(Task(project_key=project, task_id=900, data=data))
    for part in ("sound", "spectrogram.png?from=0&to=1"):
        answer = client.get(f"/projects/{project}/tasks/900/{part}")
        assert answer.status_code == 404
        assert "a password" not in answer.text
    assert client.get(f"/projects/{project}/tasks/900").status_code == 409
    assert client.get(f"/projects/{project}/tasks/901/sound").status_code == 404
    absent = client.get(f"/projects/{project}/tasks/901")
    assert absent.status_code == 404
    assert f'href="../../../projects/{project}"' in absent.text


def test_places_in_a_long_recording_are_exact(
    client: TestClient, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Media, "seconds", lambda *_: 20_000.25)
    text = client.get(f"/projects/{project}/tasks/5?from=12345.67&to=12350.89").text
    start, end = tiles(12345.67, 12350.89)[0]
    assert f"spectrogram.png?from={start}&amp;to={end}&amp;" in text
    assert "curves?from=12345.67&amp;to=12350.89&amp;" in text
    assert "?from=0&amp;to=20000.25&amp;" in text, "all of it"


def test_stretches_of_a_recording_longer_than_a_day(
    client: TestClient, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Media, "seconds", lambda *_: 30 * 3600.0)
    pages = [
        f"/projects/{project}/tasks/5?from=0&to=108000",
        f"/projects/{project}/tasks/5?from=100000&to=1e9",
    ]
    for page in pages:
        text = html.unescape(client.get(page).text)
        assert "30:00:00" in text
        drawn = re.findall(r'(?:href|data-curves)="([^"]*(?:spectrogram|curves)[^"]*)"', text)
        assert len(drawn) > 1
        for address in drawn:
            assert client.get(urljoin(page, address)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("tasks/5?from=soon", 422),
        ("tasks/5?to=inf", 422),
        ("tasks/five", 422),
        (f"tasks/{2**63}", 422),
        (f"tasks/{2**63}/curves?from=0&to=1", 422),
        ("tasks/5/spectrogram.png?from=0&to=5&width=7", 422),
        ("tasks/901/sound", 404),
        ("elsewhere", 404),
    ],
)
def test_a_browser_gets_a_page_where_a_program_gets_json(
    client: TestClient, project: str, path: str, status: int
) -> None:
    address = f"/projects/{project}/{path}"
    answer = client.get(address, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.get(address).json()["detail"] in html.unescape(answer.text)


def test_a_sound_shows_its_own_marks_alone(client: TestClient, services: Services, tmp_path: Path) -> None:
    key = seed_project(services, tmp_path / "made", tasks=1, versions=1)
    two = config("Low", "High").replace("</View>", "") + (
        '<Audio name="other" value="$other"/><Labels name="calls" toName="other"><Label value="Owl"/>'
        "</Labels></View>"
    )
    call = {"start": 2.0, "end": 3.0, "labels": ["Owl"]}
    item = {"from_name": "calls", "to_name": "other", "type": "labels", "value": call}
    with services.database.write() as session:
        session.get_one(Project, key).label_config = two
        task = session.get_one(Task, (key, 1))
        task.data = {**task.data, "other": task.data["audio"]}
        session.get_one(Annotation, (key, 1001)).result = [item]
    assert "Owl 2.00 s to 3.00 s" in client.get(f"/projects/{key}/tasks/1?sound=other").text
    assert "Owl 2.00 s" not in client.get(f"/projects/{key}/tasks/1").text


def test_a_task_whose_label_config_has_no_control(
    client: TestClient, project: str, services: Services
) -> None:
    with services.database.write() as session:
        session.get_one(Project, project).label_config = "<View></View>"
    assert client.get(f"/projects/{project}/tasks/5").status_code == 200
    assert client.get(f"/projects/{project}/tasks/5/curves?from=0&to=10").status_code == 404


def test_one_key_of_colours(client: TestClient, project: str) -> None:
    text = client.get(f"/projects/{project}/tasks/5").text
    assert re.findall(r'data-label="([^"]*)"', text) == ["Wren"], "of the labels that are marked"


def test_static_files(client: TestClient) -> None:
    assert client.get("/static/earmark.css").headers["content-type"].startswith("text/css")
    assert client.get("/static/..%2fenvironment.py").status_code == 404
    assert client.get("/static/environment.py").status_code == 404


def test_every_page_asks_for_the_password(settings: Settings, services: Services, project: str) -> None:
    locked = Settings(_env_file=None, **settings.model_dump(exclude_unset=True), api_password="a-password")
    with TestClient(create_app(locked)) as client:
        for path in ("/", f"/projects/{project}", "/static/earmark.js", f"/projects/{project}/tasks/5/sound"):
            assert client.get(path).status_code == 401
            assert client.get(path, auth=("earmark", "a-password")).status_code == 200
