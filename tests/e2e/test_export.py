"""``earmark export`` against a real Label Studio: what was put in comes out, in every format."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from earmark.export.formats import FORMATS
from earmark.export.records import ClipRecord
from tests.command_line import run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """<View><Audio name="audio" value="$audio"/>
<Labels name="label" toName="audio"><Label value="Dog"/><Label value="Rain, ü &amp; wind"/></Labels>
<Choices name="tags" toName="audio" choice="multiple"><Choice value="wind"/><Choice value="rain"/></Choices>
</View>"""
RAIN = "Rain, ü & wind"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def region(start: float, end: float, *labels: str, **changes: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "channel": 0, "labels": list(labels)}
    name = f"{start}-{end}"
    base = {"from_name": "label", "to_name": "audio", "type": "labels", "id": name, "original_length": 4.0}
    return {**base, "value": value, **changes}


def chosen(*labels: str) -> dict[str, Any]:
    return {
        "from_name": "tags",
        "to_name": "audio",
        "type": "choices",
        "id": "t",
        "value": {"choices": [*labels]},
    }


def said_by_all(result: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """An annotation; Label Studio takes imported ones for ground truth where nothing else is said."""
    return {"result": [*result], "ground_truth": False}


def predicted(version: str, *result: dict[str, Any]) -> dict[str, Any]:
    return {"model_version": version, "score": 0.5, "result": [*result]}


@pytest.fixture
def project(label_studio: Any, tmp_path: Path) -> Any:
    """Four whole sounds, of which one was skipped and one has no annotation, and a recording in two."""
    made = label_studio.client.projects.create(title=f"Export {uuid.uuid4().hex[:8]}", label_config=CONFIG)
    rng = np.random.default_rng(0)
    content = io.BytesIO()
    soundfile.write(content, 0.1 * rng.standard_normal(4 * 16000), 16000, format="WAV")
    answer = httpx.post(
        f"{label_studio.url}/api/projects/{made.id}/import?commit_to_project=false",
        headers={"Authorization": f"Token {label_studio.token}"},
        files={"a.wav": ("a.wav", content.getvalue())},
        timeout=60,
    )
    (number,) = answer.json()["file_upload_ids"]
    address = f"/data/{label_studio.client.files.get(id=number).file}"

    def task(fname: str, *annotations: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
        data = {"audio": address, "fname": fname, **more.pop("data", {})}
        return {"data": data, "annotations": [said_by_all(result) for result in annotations], **more}

    def cut(start: int, *result: dict[str, Any]) -> dict[str, Any]:
        return task(
            f"cut {start}.flac",
            result,
            data={"source": "long.wav", "source_start": start, "source_end": start + 4},
        )

    first = task(
        "sub/a b,c.wav", [region(0.5, 1.25, "Dog", RAIN), region(1, 1, "Dog"), chosen("wind", "rain")],
        data={"site": "pond"},
        predictions=[
            predicted("v1", region(0, 1, "Dog", score=0.75)),
            predicted("v2", region(2, 3, RAIN, score=0.25), chosen("rain") | {"score": 0.5}),
        ],
    )  # fmt: skip
    first["annotations"][0]["ground_truth"] = True
    skipped = task("skipped.wav", [region(0, 1, "Dog")])
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [
        first, task("日本.wav", []), skipped, task("open.wav", predictions=[predicted("v1")]),
        cut(0, region(3, 4, "Dog")), cut(4, region(0, 1.5, "Dog"), region(2, 3, RAIN)),
    ]  # fmt: skip
    label_studio.client.projects.import_tasks(id=made.id, request=tasks)
    return made


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "earmark", "export", *map(str, arguments)]


def environment(label_studio: Any, tmp_path: Path, **variables: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LABEL_STUDIO_")}
    ours = {"LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": label_studio.token}
    ours |= {
        "DATA_DIR": str(tmp_path / "data"),
        "ENCODER": "logmel",
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "200",
    }
    return inherited | ours | variables


def export(label_studio: Any, tmp_path: Path, *arguments: object, **variables: str) -> tuple[int, str]:
    done = run_command("export", *arguments, environment=environment(label_studio, tmp_path, **variables))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def contents(record: ClipRecord) -> tuple[str, list[tuple[float, float, str]], list[str]]:
    regions = [(r.start, r.end, r.label) for of_control in record.regions.values() for r in of_control]
    return record.file_name, regions, [tag for tags in record.tags.values() for tag in tags]


REGIONS = {
    "sub/a b,c.wav": [(0.5, 1.25, "Dog"), (0.5, 1.25, RAIN), (1.0, 1.0, "Dog")],
    "日本.wav": [],
    "long.wav": [(3.0, 5.5, "Dog"), (6.0, 7.0, RAIN)],
}
TAGS = {"sub/a b,c.wav": ["wind", "rain"]}


def test_every_format_holds_what_was_put_in(label_studio: Any, project: Any, tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        if name in ("fsdkaggle", "rttm"):  # without regions, and without spaces in names
            continue
        out = tmp_path / f"out.{name}"
        code, text = export(label_studio, tmp_path, project.id, "--format", name, "--out", out)
        assert code == 0, text
        read_back = [contents(record) for record in form.load().read(out)]
        least = 0.001 if name == "elan" else 0.0  # seconds of a region in milliseconds
        expected = {
            file_name: [(start, max(end, start + least), label) for start, end, label in regions]
            for file_name, regions in REGIONS.items()
        }
        assert {file_name: regions for file_name, regions, _ in read_back} == expected, name
        tags = {file_name: labels for file_name, _, labels in read_back if labels}
        assert tags == (TAGS if form.holds_tags else {}), name
        assert ("no place" in text) == (not form.holds_tags), text

    records = {record.file_name: record for record in FORMATS["jsonl"].load().read(tmp_path / "out.jsonl")}
    first = records["sub/a b,c.wav"]
    assert (first.annotator, first.ground_truth, first.duration) == (label_studio.username, True, 4.0)
    assert (first.data["site"], first.data["audio"]) == ("pond", first.sound)
    assert records["long.wav"].duration == 8.0
    by_csv = {record.file_name: record for record in FORMATS["csv"].load().read(tmp_path / "out.csv")}
    assert by_csv["sub/a b,c.wav"] == first, "a table holds as much, where all fields are text"


def test_labels_with_commas_are_listed_as_left_out_of_weak_labels(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    out = tmp_path / "weak.csv"
    code, text = export(label_studio, tmp_path, project.title, "-f", "fsdkaggle", "-o", out)
    assert code == 1, text
    assert "2 left out" in text
    assert f"'{RAIN}' has a comma" in text
    code, text = export(
        label_studio, tmp_path, project.id, "-f", "fsdkaggle", "-o", out, "--control", "tags", "--force"
    )
    assert code == 0, text
    assert out.read_text() == 'fname,labels\n"sub/a b,c.wav","wind,rain"\n日本.wav,\nlong.wav,\n'


def test_predictions_and_ground_truth_and_single_stretches(
    label_studio: Any, project: Any, tmp_path: Path
) -> None:
    def exported(*arguments: object) -> list[ClipRecord]:
        out = tmp_path / f"{uuid.uuid4().hex}.jsonl"
        code, text = export(label_studio, tmp_path, project.id, "-f", "jsonl", "-o", out, *arguments)
        assert code == 0, text
        return list(FORMATS["jsonl"].load().read(out))

    newest = exported("--what", "predictions")
    assert [(r.version, *contents(r)) for r in newest] == [
        ("v2", "sub/a b,c.wav", [(2.0, 3.0, RAIN)], ["rain"]), ("v1", "open.wav", [], []),
    ]  # fmt: skip
    assert newest[0].regions["label"][0].score == 0.25
    assert newest[0].tag_scores == {"tags": 0.5}
    older = exported("--what", "predictions", "--version", "v1")
    assert [contents(r)[1] for r in older] == [[(0.0, 1.0, "Dog")], []]
    assert [r.file_name for r in exported("--ground-truth-only")] == ["sub/a b,c.wav"]
    (annotator,) = [
        user.id for user in label_studio.client.users.list() if user.email == label_studio.username
    ]
    assert len(exported("--annotator", annotator)) == 3
    cuts = exported("--no-unsplit", "--annotator", label_studio.username)
    assert [contents(r)[:2] for r in cuts[2:]] == [
        ("cut 0.flac", [(3.0, 4.0, "Dog")]), ("cut 4.flac", [(0.0, 1.5, "Dog"), (2.0, 3.0, RAIN)]),
    ]  # fmt: skip


def test_embeddings_hear_the_sounds_of_label_studio(label_studio: Any, project: Any, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    code, text = export(label_studio, tmp_path, project.id, "-f", "embeddings", "-o", out)
    assert code == 0, text
    rows = pq.read_table(out).to_pylist()
    assert [(row["file_name"], row["kind"], row["labels"], row["start"], row["end"]) for row in rows] == [
        ("sub/a b,c.wav", "region", ["Dog", RAIN], 0.5, 1.25),
        ("sub/a b,c.wav", "region", ["Dog"], 1.0, 1.0),
        ("sub/a b,c.wav", "clip", ["wind", "rain"], 0.0, 4.0),
        ("日本.wav", "clip", [], 0.0, 4.0),
        ("long.wav", "region", ["Dog"], 3.0, 4.0),
        ("long.wav", "clip", [], 0.0, 4.0),
        ("long.wav", "region", ["Dog"], 4.0, 5.5),
        ("long.wav", "region", [RAIN], 6.0, 7.0),
        ("long.wav", "clip", [], 4.0, 8.0),
    ]
    clips = np.array([row["embedding"] for row in rows if row["kind"] == "clip"])
    assert (clips == clips[0]).all(), "it is one sound"
    assert np.isfinite(clips).all()


def test_ctrl_c_leaves_nothing(label_studio: Any, tmp_path: Path) -> None:
    made = label_studio.client.projects.create(title=f"Export {uuid.uuid4().hex[:8]}", label_config=CONFIG)
    tasks = [
        {"data": {"audio": f"/{n}.wav"}, "annotations": [{"result": [region(0, 1, "Dog")]}]}
        for n in range(900)
    ]
    label_studio.client.projects.import_tasks(id=made.id, request=tasks)
    folder = tmp_path / "out"
    folder.mkdir()
    process = subprocess.Popen(
        command(made.id, "-f", "audacity", "-o", folder / "labels"), cwd=ROOT, text=True,
        env=environment(label_studio, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not any(path.name.endswith(".txt") for path in folder.rglob("*")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False), out + err
    assert "nothing was written" in out
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["no such title", "-f", "csv"], {}, "has no project"),
        (
            ["{project}", "-f", "csv", "--control", "nope"],
            {},
            "has no control nope: choose among label, tags",
        ),
        (["{project}", "-f", "raven", "--control", "tags"], {}, "holds regions"),
        (["{project}", "-f", "csv", "--annotator", "nobody"], {}, "no annotations that fit"),
        (["{project}", "-f", "csv", "--version", "v1"], {}, "add --what predictions"),
        (["{project}", "-f", "embeddings"], {}, ".parquet or .npz"),
        (["{project}", "-f", "csv"], {"LABEL_STUDIO_API_KEY": "wrong"}, "refuses the token"),
        (["{project}", "-f", "csv"], {"LABEL_STUDIO_URL": "http://127.0.0.1:1"}, "cannot be reached"),
    ],
)
def test_what_cannot_work_is_said_in_one_sentence(
    label_studio: Any,
    project: Any,
    tmp_path: Path,
    arguments: list[str],
    variables: dict[str, str],
    words: str,
) -> None:
    named = [argument.format(project=project.id) for argument in arguments]
    out = tmp_path / "out" / "x"
    code, text = export(label_studio, tmp_path, *named, "-o", out, **variables)
    assert code == 2, text
    assert words in text
    sentences = [line for line in text.strip().splitlines() if not line.startswith("exporting")]
    assert len(sentences) == 1, text
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_what_is_there_is_not_overwritten(label_studio: Any, project: Any, tmp_path: Path) -> None:
    out = tmp_path / "x.jsonl"
    out.write_text("mine")
    code, text = export(label_studio, tmp_path, project.id, "-f", "jsonl", "-o", out)
    assert (code, out.read_text()) == (2, "mine"), text
    assert "--force" in text
    code, text = export(label_studio, tmp_path, project.id, "-f", "jsonl", "-o", out, "--force")
    assert code == 0, text
    assert all(json.loads(line)["earmark_clip"] == 1 for line in out.read_text().splitlines())
