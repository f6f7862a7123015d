"""The simulated Label Studio itself: what people do in it, and what the backend asks of it.

Annotators call its methods as the interface would; the backend comes over HTTP (``api``). A change is
stored first, then its webhook is sent by the same thread, once, with one second to be answered in.
"""

from __future__ import annotations

import copy
import json
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from benchmarks.simulated_label_studio.api import application
from benchmarks.simulated_label_studio.rows import Json, Rows, project_uid
from benchmarks.simulated_label_studio.sending import (
    HEALTH_SECONDS,
    PREDICT_SECONDS,
    SETUP_SECONDS,
    WEBHOOK_SECONDS,
    Notice,
    ask,
    login_header,
    post,
)

STARTED_SECONDS = 10.0


class SimulatedLabelStudio:
    """One Label Studio on a free port of this machine. Thread-safe.

    Parameters
    ----------
    uploads
        Folder of the sounds that it serves below ``/data/upload/<project>/``.
    token
        Legacy token, without which the backend is refused.

    Attributes
    ----------
    send
        Callable that receives notices: ``post`` by default.
    """

    def __init__(self, uploads: Path, token: str) -> None:
        self.send: Callable[[Notice], object] = post
        self.rows, self.uploads, self.token = Rows(), uploads, token
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(application(self), log_config=None, lifespan="off"))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="label-studio", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        with httpx.Client(trust_env=False, timeout=STARTED_SECONDS) as client:
            # The socket listens already, so this waits for the server behind it
            client.get(f"{self.url}/health").raise_for_status()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def create_project(self, title: str, label_config: str) -> int:
        """Make a project; its number."""
        with self.rows.lock:
            return int(self.rows.add_project(title, label_config)["id"])

    def import_tasks(self, project: int, sounds: Sequence[tuple[str, Json | None]]) -> list[int]:
        """Import uploads by name, each with the fields of an annotation or None; the tasks' numbers.

        However many annotations come along, ``TASKS_CREATED`` is all that is sent.
        """
        with self.rows.lock:
            numbers = []
            for name, annotation in sounds:
                number = int(self.rows.add_task(project, f"/data/upload/{project}/{name}")["id"])
                if annotation is not None:
                    self.rows.add_annotation(number, **annotation)
                numbers.append(number)
            tasks = [self.rows.task(number) for number in numbers]
        self._tell(project, "TASKS_CREATED", tasks=tasks)
        return numbers

    def create_annotation(self, task: int, *, starts_training: bool = False, **fields: Any) -> int:
        """Submit or skip; the annotation's number.

        Parameters
        ----------
        starts_training
            Whether the project starts a training with every annotation: that is said first.
        fields
            ``result``, ``was_cancelled``, ``ground_truth``, ``completed_by``, ``lead_time`` (seconds).
        """
        with self.rows.lock:
            row = self.rows.add_annotation(task, **fields)
        self._tell_of_annotation("ANNOTATION_CREATED", row, starts_training)
        return int(row["id"])

    def update_annotation(self, annotation: int, *, starts_training: bool = False, **fields: Any) -> None:
        """Change an annotation; parameters as above."""
        with self.rows.lock:
            row = self.rows.change_annotation(annotation, **fields)
        self._tell_of_annotation("ANNOTATION_UPDATED", row, starts_training)

    def delete_annotation(self, annotation: int) -> None:
        """Delete an annotation. What is sent has its number alone."""
        with self.rows.lock:
            project = self.rows.annotations.remove(annotation)["project"]
        self._tell(project, "ANNOTATIONS_DELETED", annotations=[{"id": annotation}])

    def delete_task(self, task: int) -> None:
        """Delete a task and all that belongs to it, of which nothing is said."""
        with self.rows.lock:
            project = self.rows.tasks.remove(task)["project"]
            for table in (self.rows.annotations, self.rows.predictions):
                for row in table.where("task", task):
                    table.remove(row["id"])
        self._tell(project, "TASKS_DELETED", tasks=[{"id": task}])

    def start_training(self, project: int) -> None:
        """Press Start Training: said to each connected backend, with its password and no annotation."""
        with self.rows.lock:
            backends = self.rows.backends.where("project", project)
            body = _dumped({"action": "START_TRAINING", "project": self.rows.project(project)})
        for backend in backends:
            url, login = f"{backend['url']}/webhook", login_header(backend)
            self.send(Notice(project, "START_TRAINING", url, login, body, PREDICT_SECONDS))

    def open_task(self, task: int) -> None:
        """Open a task: predicted now, where it has no prediction of the version that answers.

        A backend that does not answer leaves it as it is.
        """
        with self.rows.lock:
            backends = self.rows.backends.where("project", self.rows.tasks[task]["project"])
        for backend in backends:
            version = self._set_up(backend)
            if version is not None:
                self._predict(backend, task, version)

    def annotations(self, project: int) -> dict[int, Json]:
        """What a project holds now, by number, the skipped ones included."""
        with self.rows.lock:
            return {row["id"]: copy.deepcopy(row) for row in self.rows.annotations.where("project", project)}

    def sounds(self, project: int) -> dict[int, str]:
        """The address of the sound in each task of a project."""
        with self.rows.lock:
            return {row["id"]: row["data"]["audio"] for row in self.rows.tasks.where("project", project)}

    def project_uid(self, project: int) -> str:
        """``<id>.<created>``, as the ML backend API names a project."""
        with self.rows.lock:
            return project_uid(self.rows.projects[project])

    def change_project(self, project: int, fields: Json) -> Json:
        """Edit a project, which is told whatever was changed."""
        with self.rows.lock:
            self.rows.projects[project].update(fields)
            answer = self.rows.project(project)
        self._tell(project, "PROJECT_UPDATED")
        return answer

    def connect(self, fields: Json) -> Json | None:
        """Connect an ML backend, and register its webhook; None where it does not answer."""
        wanted = {"title": "ML backend", "model_version": None, "auth_method": "NONE", **fields}
        if self._set_up(wanted) is None:
            return None
        with self.rows.lock:
            backend = self.rows.backends.add(**wanted)
            self.rows.add_webhook(backend["project"], f"{backend['url']}/webhook")
            project = self.rows.projects[backend["project"]]
            project["model_version"] = project["model_version"] or backend["title"]
        return self.look_at(backend["id"])

    def change_backend(self, number: int, fields: Json) -> Json | None:
        """Change an ML backend; None, and nothing is changed, where it does not answer.

        Its new title becomes the project's model version where that was its old one.
        """
        with self.rows.lock:
            backend = self.rows.backends[number]
        if self._set_up({**backend, **fields}) is None:
            return None
        with self.rows.lock:
            project = self.rows.projects[backend["project"]]
            if project["model_version"] == backend["title"]:
                project["model_version"] = fields.get("title", backend["title"])
            backend.update(fields)
        return self.look_at(number)

    def look_at(self, number: int) -> Json:
        """An ML backend, after it was asked how it is; KeyError where there is none."""
        with self.rows.lock:
            backend = self.rows.backends[number]
        version = self._set_up(backend)
        with self.rows.lock:
            if version is None:
                backend.update(state="DI", readable_state="Disconnected")
            else:
                backend.update(state="CO", readable_state="Connected", model_version=version)
            return {name: value for name, value in backend.items() if name != "basic_auth_pass"}

    def _set_up(self, backend: Json) -> str | None:
        """Health and setup, which come before all that is asked; the version that answers, or None."""
        with self.rows.lock:
            project = self.rows.projects[backend["project"]]
            body = {
                "project": project_uid(project),
                "schema": project["label_config"],
                "hostname": self.url,
                "access_token": self.token,
                "extra_params": None,
            }
        if ask(backend, "/health", None, HEALTH_SECONDS) is None:
            return None
        answer = ask(backend, "/setup", body, SETUP_SECONDS)
        return None if answer is None else str(answer["model_version"])

    def _predict(self, backend: Json, number: int, version: str) -> None:
        with self.rows.lock:
            task = self.rows.whole_task(number)
            project = self.rows.projects[task["project"]]
            body = {
                "tasks": [task],
                "project": project_uid(project),
                "label_config": project["label_config"],
                "params": {"login": None, "password": None, "context": None},
            }
        if any(prediction["model_version"] == version for prediction in task["predictions"]):
            return
        answer = ask(backend, "/predict", body, PREDICT_SECONDS)
        items = answer.get("results") if answer else None
        if not items or "result" not in items[0]:
            return
        item = items[0]
        with self.rows.lock:
            if number in self.rows.tasks:
                named = item.get("model_version", version)
                self.rows.add_prediction(number, item["result"], item.get("score"), named)

    def _tell_of_annotation(self, action: str, row: Json, starts_training: bool) -> None:
        with self.rows.lock:
            annotation, task = copy.deepcopy(row), self.rows.task(row["task"])
        if starts_training:
            self.start_training(row["project"])
        self._tell(row["project"], action, annotation=annotation, task=task)

    def _tell(self, project: int, action: str, **payload: Any) -> None:
        with self.rows.lock:
            webhooks = [row for row in self.rows.webhooks.where("project", project) if row["is_active"]]
            body = _dumped({"action": action, **payload, "project": self.rows.project(project)})
        for webhook in webhooks:
            self.send(Notice(project, action, webhook["url"], webhook["headers"], body, WEBHOOK_SECONDS))


def _dumped(payload: Json) -> bytes:
    return json.dumps(payload).encode()
