"""What a refresh reads of open tasks: a real Label Studio lists predictions with their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earmark.labels.label_config import parse_label_config
from earmark.labelstudio.credentials import AccessBook
from earmark.labelstudio.non_idempotent_requests import import_predictions
from earmark.labelstudio.task_pages import OPEN, Listing
from earmark.prediction.refresh import has_present_labels
from earmark.settings import Settings

pytestmark = pytest.mark.e2e

CONFIG = (Path(__file__).parents[2] / "label_config.xml").read_text()


def test_a_removed_label_is_found_in_what_label_studio_lists(label_studio: Any) -> None:
    client = label_studio.client
    project = client.projects.create(title="Refresh", label_config=CONFIG)
    (control, *_) = (control for control in parse_label_config(CONFIG) if control.type.draws_regions)
    client.projects.import_tasks(id=project.id, request=[{control.data_key: "/data/upload/none.wav"}])
    settings = Settings(
        _env_file=None, label_studio_url=label_studio.url, label_studio_api_key=label_studio.token
    )
    listing = Listing(AccessBook(settings).required(None))
    (task,) = listing.page(project.id, OPEN)
    item = {
        "id": "r",
        "from_name": control.from_name,
        "to_name": control.to_name,
        "type": control.result_type,
        "original_length": 2.0,
        "value": {**control.span_value(0.5, 1.0), **control.value([control.labels[0]])},
    }
    prediction = {"task": task["id"], "result": [item], "score": 0.5, "model_version": "v1"}
    import_predictions(client, project.id, [prediction])
    (task,) = listing.page(project.id, OPEN)
    (listed,) = task["predictions"]
    assert has_present_labels(task, listed, parse_label_config(CONFIG))
    less = CONFIG.replace(f'<Label value="{control.labels[0]}"', '<Label value="Another"')
    assert less != CONFIG
    assert not has_present_labels(task, listed, parse_label_config(less))
    client.projects.delete(id=project.id)
