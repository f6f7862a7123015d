"""Label config parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import LabelConfigError
from earmark.labels.control_types.choices import MULTIPLE_CHOICE, SINGLE_CHOICE
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config

PROJECT_ROOT = Path(__file__).parents[2]


def test_the_example_config_has_regions_and_tags() -> None:
    regions, tags = parse_label_config((PROJECT_ROOT / "label_config.xml").read_text())
    assert (regions.type, regions.name, regions.to_name, regions.data_key) == (
        REGION_LABELS,
        "label",
        "audio",
        "audio",
    )
    assert (tags.type, tags.name) == (MULTIPLE_CHOICE, "tags")
    assert regions.labels == tags.labels
    assert len(regions.labels) == 6


def test_single_choice_alias_and_other_names() -> None:
    (control,) = parse_label_config(
        '<View><Choices name="c" toName="a" choice="single-radio">'
        '<Choice value="Dog barking" alias="dog" predicted_values="Bark, Bow-wow"/><Choice value="cat"/>'
        '</Choices><AudioPlus name="a" value="$url"/></View>'
    )
    assert (control.type, control.labels, control.data_key) == (SINGLE_CHOICE, ("dog", "cat"), "url")
    assert control.hints == {"dog": ("Bark", "Bow-wow", "Dog barking")}


def test_controls_of_other_data_are_left_alone() -> None:
    (control,) = parse_label_config(
        '<View><Audio name="a" value="$audio"/><Image name="i" value="$image"/>'
        '<Labels name="pictures" toName="i"><Label value="x"/></Labels>'
        '<TextArea name="note" toName="a"/>'
        '<Labels name="sounds" toName="a"><Label value="y"/><Label value="y"/><Label value=""/></Labels>'
        "</View>"
    )
    assert (control.name, control.labels) == ("sounds", ("y",))


@pytest.mark.parametrize(
    ("label_config", "hint"),
    [
        ("", "not valid XML"),
        ("<View>", "not valid XML"),
        ('<View><Audio name="a" value="$audio"/></View>', "no control that can be learned"),
        ('<View><Labels name="l" toName="a"><Label value="x"/></Labels></View>', "Audio tag"),
    ],
)
def test_unusable_configs_say_what_to_do(label_config: str, hint: str) -> None:
    with pytest.raises(LabelConfigError, match=hint):
        parse_label_config(label_config)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(LabelConfigError):
        parse_label_config(text)
