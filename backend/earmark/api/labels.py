"""``GET /labels``: which AudioSet classes of the encoder each label of a project is matched to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from earmark.encoders.registry import class_names
from earmark.errors import LabelConfigError
from earmark.labels.class_matching import match_labels
from earmark.labels.config_changes import current_label_names, with_former_names
from earmark.labels.label_config import parse_label_config
from earmark.services import Services
from earmark.store.models import Project


class ControlLabels(BaseModel):
    """The labels of one control tag."""

    name: str = Field(examples=["label"])
    kind: str = Field(description="`regions`, `single` or `multiple`")
    labels: dict[str, list[str] | None] = Field(
        description="the encoder's classes for each label, or null: it is predicted only after its first "
        "annotation, unless `predicted_values` on the label names such classes",
        examples=[{"Dog": ["Dog"], "Xyzzy": None}],
    )
    suggestions: dict[str, list[str]] = Field(
        description="for each label without a match the nearest class names, to choose "
        "`predicted_values` from; none of them is used by itself",
        examples=[{"Barking dog": ["Dog", "Bark", "Growling"]}],
    )


class LabelsAnswer(BaseModel):
    """How a project's labels match the encoder's classes."""

    project: str
    encoder: str = Field(description="identity of the encoder in use")
    used: bool = Field(description="whether that encoder has classes, so that the matches have an effect")
    controls: list[ControlLabels]


def labels_router(services: Services) -> APIRouter:
    """Return the route, bound to the services of this process."""
    router = APIRouter()

    @router.get(
        "/labels",
        responses={
            404: {"description": "no such project has connected"},
            409: {"description": "its label config cannot be used"},
        },
    )
    def labels(
        project: Annotated[str, Query(description="`<id>.<created>`", examples=["1.1795198673"])],
    ) -> LabelsAnswer:
        """Return for each label the encoder's classes that predict it before the first annotation."""
        with services.database.read() as session:
            row = session.get(Project, project)
            if row is None:
                raise HTTPException(404, f"No project {project!r} has connected: connect it in Label Studio.")
            try:
                controls = parse_label_config(row.label_config)
            except LabelConfigError as error:
                raise HTTPException(409, str(error)) from error
            controls = with_former_names(controls, current_label_names(session, project, controls))
        identity = services.encoder_identity()
        names = class_names(identity) or None  # AudioSet's whole list for an encoder without classes
        matches = [(control, match_labels(control, names)) for control in controls]
        return LabelsAnswer(
            project=project,
            encoder=identity,
            used=bool(class_names(identity)),
            controls=[
                ControlLabels(
                    name=control.name,
                    kind=control.type.name,
                    labels={label: list(match.names(label) or ()) or None for label in control.labels},
                    suggestions={label: list(names) for label, names in match.suggestions().items()},
                )
                for control, match in matches
            ],
        )

    return router
