"""Label configs as trees of tags: spelling, repeaters, and what is refused."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from earmark.errors import LabelConfigError
from earmark.labels.config_tree import DEEPEST, LONGEST_CONFIG, REPEATS, parse_tree
from earmark.labels.label_config import parse_label_config, read_label_config

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><View><Header value="&b;"/></View>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><View><Header>&a;</Header></View>'


def test_names_are_taken_in_any_case() -> None:
    root = parse_tree('<VIEW><Labels perREGION="True" VALUE=" x "/></VIEW>')
    (labels,) = root.children
    assert (root.name, labels.name, labels.get("value")) == ("view", "labels", " x ")
    assert labels.flag("perregion")
    assert labels.ancestors == (root,)


def test_text_is_a_value() -> None:
    (choice,) = parse_tree("<View><Choice> Dog </Choice></View>").children
    assert choice.get("value") == "Dog"


def test_a_repeater_stands_for_copies() -> None:
    root = parse_tree(
        '<View><Repeater on="$x" indexFlag="[i]"><Audio name="a[i]" value="$x[0]"/></Repeater></View>'
    )
    copies = [tag for tag in root.walk() if tag.name == "audio"]
    assert [tag.get("name") for tag in copies] == [f"a{index}" for index in range(REPEATS)]
    assert {(tag.first_name, tag.repeated) for tag in copies} == {("a0", True)}


@pytest.mark.parametrize(
    ("label_config", "hint"),
    [
        (BOMB, "entities"),
        (OUTSIDE, "entities"),
        ("<!DOCTYPE View><View/>", "document type"),
        (f"<View>{' ' * LONGEST_CONFIG}</View>", "characters"),
        ("<View>" * (DEEPEST + 2) + "</View>" * (DEEPEST + 2), "deep"),
        ("<View>\ud800</View>", "not valid XML"),
    ],
    ids=["bomb", "outside", "doctype", "long", "deep", "surrogate"],
)
def test_tricks_are_refused(label_config: str, hint: str) -> None:
    with pytest.raises(LabelConfigError, match=hint):
        parse_label_config(label_config)


@pytest.mark.slow
def test_large_configs_are_not_kept() -> None:
    labels = "".join(f'<Label value="label number {index}"/>' for index in range(2_000))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(24):
            text = f'<View><Audio name="a{number}" value="$a"/><Labels name="l">{labels}</Labels></View>'
            assert len(read_label_config(text).controls[0].labels) == 2_000
        del text
        gc.collect()  # a tag and those in it refer to each other
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2_000_000
