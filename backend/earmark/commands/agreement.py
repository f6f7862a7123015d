"""``earmark agreement``: how far annotators agree, label by label and pair by pair, and where they do not."""

from __future__ import annotations

from typing import Any

from earmark.commands.common import AsJson, DataDir, ProjectName, find, opened, print_json

TASKS_SHOWN = 10


def agreement(project: ProjectName, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show how far annotators agree on each label, and the tasks about which two of them differ.

    Counted at each training, over tasks with several annotators. A conflict counts less in training; a
    ground-truth annotation, or one that a reviewer accepted, settles it.
    """
    from earmark.commands.tables import print_agreement, say
    from earmark.monitoring.project_statements import annotator_name, task_address
    from earmark.monitoring.project_status import project_states
    from earmark.wording import counted

    with opened(data_dir) as services:
        key = find(services, project).key
        with services.database.read() as session:
            (state,) = project_states(session, services.encoder_identity(), key=key)
        summary: dict[str, Any] = state.project.annotated or {}
        names = summary.get("annotators", {})
        pairs = [
            {
                **pair,
                "annotators": [annotator_name(number, names) for number in pair["annotators"]],
                "agree": 1 - (pair["differing"] + pair.get("settled", 0)) / pair["shared"],
                "labels": {
                    label: 1 - differing / pair["shared"]
                    for label, differing in sorted(pair["labels"].items())
                },
                "links": [
                    task_address(state, services.settings, task) or f"task {task}"
                    for task in pair["tasks"][:TASKS_SHOWN]
                ],
            }
            for pair in summary.get("pairs", [])
        ]
    waiting = state.work.events if state.work else 0
    answer = {
        "project": key,
        "labels": summary.get("agreement", {}),
        "pairs": pairs,
        "waiting_webhooks": waiting,
    }
    if as_json:
        print_json(answer)
    elif not pairs:
        say(
            "No task has annotations of two annotators yet, or none was trained on since: "
            "agreement is counted at each training."
        )
    else:
        print_agreement(answer)
    if waiting and not as_json:
        say(
            f"{counted(waiting, 'webhook')} of Label Studio {'is' if waiting == 1 else 'are'} not counted "
            "yet: that happens at the next training."
        )
