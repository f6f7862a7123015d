"""Labels find their AudioSet classes by name, and only by name."""

from __future__ import annotations

import re
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.encoders.audioset import audioset_labels, yamnet_labels
from earmark.labels.class_matching import match_labels, match_name, nearest_names
from earmark.labels.control import Control
from earmark.labels.control_types.labels import REGION_LABELS
from earmark.labels.label_config import parse_label_config

NAMES = audioset_labels()
WORDS = {word for name in NAMES for word in re.findall(r"[a-z0-9]+", name.lower())}


def control(*labels: str, **hints: tuple[str, ...]) -> Control:
    return Control("label", "audio", REGION_LABELS, labels, "audio", hints)


def name_of(label: str) -> str | None:
    index = match_name(label)
    return None if index is None else NAMES[index]


def test_a_former_name_counts_where_the_label_itself_matches_nothing() -> None:
    former = {"Cow": ("Moocow", "Cattle", "Dog"), "Owl": ("Dog",), "Animal / Ox": ("Animal / Cattle",)}
    renamed = replace(control("Cow", "Owl", "Animal / Ox"), former=former)
    nested = replace(renamed, paths={"Animal / Ox": ("Animal", "Ox")})
    match = match_labels(nested)
    assert match.names("Cow") == match.names("Animal / Ox") == ("Cattle, bovinae",)
    assert match.names("Owl") == ("Owl",)
    assert match.former == {"Cow": "Cattle", "Animal / Ox": "Animal / Cattle"}
    assert match.unmatched == ()
    # A hint is what the label config says today
    hinted = replace(control("Cow", Cow=("Moo",)), former=former)
    assert match_labels(hinted).names("Cow") == ("Moo",)
    assert match_labels(control("Cow")).unmatched == ("Cow",)


@pytest.mark.parametrize("index", range(527))
def test_every_name_matches_itself_however_it_is_written(index: int) -> None:
    name = NAMES[index]
    lazy = re.sub("[^a-z]+", "_", name.replace("'", "").lower())
    for written in (name, name.upper(), name.lower(), f"  {name}! ", lazy, name.replace(",", " and")):
        assert match_name(written) == index, written
    parts = tuple(part.strip() for part in name.split(","))
    assert match_labels(control("x", x=parts)).classes == {"x": (index,)}


@given(st.sampled_from(NAMES), st.sampled_from([str.upper, str.title, str.swapcase, str.casefold]), st.data())
def test_case_and_punctuation_do_not_matter(name: str, case: object, data: st.DataObject) -> None:
    gap = st.text(" -_/.,;:()&!", min_size=1, max_size=3)
    words = [word for word in re.findall(r"[a-z]+", name.replace("'", "").lower())]
    written = "".join(word + data.draw(gap) for word in words)
    assert name_of(case(written)) == name  # type: ignore[operator]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Dogs", "Dog"),
        ("dog", "Dog"),
        ("DOG", "Dog"),
        ("Sirens", "Siren"),
        ("Church bells", "Church bell"),
        ("Tool", "Tools"),
        ("Glasses", "Glass"),
        ("Buses", "Bus"),
        ("Geese", "Goose"),
        ("mice", "Mouse"),
        ("wolf", "Canidae, dogs, wolves"),
        ("Flies", "Fly, housefly"),
        ("sneezes", "Sneeze"),
        ("Mosquitoes", "Mosquito"),
        ("car_horn", "Vehicle horn, car horn, honking"),
        ("Car horns", "Vehicle horn, car horn, honking"),
        ("tweet", "Chirp, tweet"),
        ("Chirp_and_tweet", "Chirp, tweet"),
        ("pans", "Dishes, pots, and pans"),
        ("small room", "Inside, small room"),
        ("Drum & bass", "Drum and bass"),
        ("dentists drill", "Dental drill, dentist's drill"),
        ("Fire engine", "Fire engine, fire truck (siren)"),
    ],
)
def test_plurals_and_synonyms(label: str, name: str) -> None:
    assert name_of(label) == name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("hihat", "Hi-hat"),
        ("HiHats", "Hi-hat"),
        ("hi_hat", "Hi-hat"),
        ("cow bell", "Cowbell"),
        ("house-fly", "Fly, housefly"),
        ("bassdrum", "Bass drum"),
        ("carhorn", "Vehicle horn, car horn, honking"),
    ],
)
def test_words_written_together_or_apart(label: str, name: str) -> None:
    assert name_of(label) == name


@pytest.mark.parametrize(
    "label",
    [
        "Xyzzy",
        "in side",
        "out-side",
        "key board",
        "Bird chirp",
        "Inside",  # three classes have this synonym
        "Outside",
        "Keyboard",  # musical or of a computer
        "dog bark",
        "Siren 2",
        "Blue",
        "etc.",
        "and",
        "lions",
        "",
        "…",
    ],
)
def test_no_guesses(label: str) -> None:
    assert match_name(label) is None
    assert match_labels(control(label)).unmatched == (label,)


@given(st.text(string.ascii_letters + " ,-", max_size=30))
def test_random_text_matches_only_what_shares_its_words(text: str) -> None:
    index = match_name(text)
    if index is not None:
        joined = {letters(part) for part in (NAMES[index], *NAMES[index].split(","))}
        assert stems(NAMES[index]) & stems(text) or letters(text) in joined


def letters(text: str) -> str:
    """A text's letters alone, without a plural's s."""
    return "".join(re.findall("[a-z]", text.lower())).rstrip("s")


def stems(text: str) -> set[str]:
    """Words without a plural's s, and irregular plurals as their singular."""
    odd = {"geese": "goose", "men": "man", "mice": "mouse", "women": "woman", "wolves": "wolf"}
    odd |= {"children": "child", "leaves": "leaf", "shoes": "shoe", "canoes": "canoe", "buses": "bus"}
    return {odd.get(word, word).rstrip("s") for word in re.findall("[a-z]+", text.lower())}


@given(st.lists(st.text(string.ascii_lowercase, min_size=4, max_size=12), min_size=1, max_size=4))
def test_foreign_words_match_nothing(words: list[str]) -> None:
    foreign = [f"q{word}x" for word in words]
    assert not WORDS & set(foreign)
    assert match_labels(control(" ".join(foreign))).unmatched == (" ".join(foreign),)


@given(st.text(max_size=40), st.lists(st.text(max_size=20), max_size=4))
def test_any_text_is_matched_or_listed(label: str, hints: list[str]) -> None:
    match = match_labels(control(label, "Dog", **{label: tuple(hints)}))
    assert [*match.classes, *match.unmatched].count(label) == 1
    assert all(0 <= index < 527 for indices in match.classes.values() for index in indices)
    assert all(indices == tuple(sorted(set(indices))) for indices in match.classes.values())


def test_hints_are_read_like_names_and_add_to_the_labels_own() -> None:
    (labels_control,) = parse_label_config(
        '<View><Labels name="l" toName="a">'
        '<Label value="Bird chirp" predicted_values="Chirp, tweet"/>'
        '<Label value="Dog" predicted_values="Bark,growlings, Xyzzy"/>'
        '<Label value="Steam whistle" alias="w17"/>'
        '<Label value="Pack" predicted_values="Canidae, dogs, wolves"/>'
        '<Label value="Room" predicted_values="Inside, small room, Inside, large room or hall"/>'
        '<Label value="Thing" predicted_values="Xyzzy"/><Label value="Other"/>'
        '</Labels><Audio name="a" value="$audio"/></View>'
    )
    match = match_labels(labels_control)
    assert {label: match.names(label) for label in match.classes} == {
        "Bird chirp": ("Chirp, tweet",),
        "Dog": ("Dog", "Bark", "Growling"),
        "w17": ("Steam whistle",),
        "Pack": ("Canidae, dogs, wolves",),
        "Room": ("Inside, small room", "Inside, large room or hall"),
    }
    assert match.unmatched == ("Thing", "Other")
    assert match.names("Thing") is None


@pytest.mark.parametrize(
    ("label", "near"),
    [("Barking dog", {"Bark", "Dog"}), ("jackhammer noise", {"Jackhammer"}), ("diesel engine", {"Engine"})],
)
@pytest.mark.parametrize("names", [audioset_labels(), yamnet_labels()], ids=["527", "521"])
def test_the_nearest_names_are_suggested_and_not_taken(
    label: str, near: set[str], names: tuple[str, ...]
) -> None:
    match = match_labels(control(label), names)
    assert match.unmatched == (label,)
    assert near <= set(match.suggestions()[label])
    assert set(match.suggestions()[label]) <= set(names)


@pytest.mark.parametrize("label", ["Xyzzy", "!!", "b"])
def test_what_resembles_no_name_gets_no_suggestion(label: str) -> None:
    assert nearest_names(label, NAMES) == ()


def test_labels_are_matched_to_the_names_of_the_encoder() -> None:
    match = match_labels(control("Dog"), yamnet_labels())
    assert match.names("Dog") == ("Dog",)
    assert match.classes["Dog"] == (yamnet_labels().index("Dog"),)


def test_ratings_and_paths() -> None:
    stars, kinds = parse_label_config(
        '<View><Audio name="a" value="$a"/><Rating name="stars"/><Taxonomy name="kinds">'
        '<Choice value="Things"><Choice value="Dog"/></Choice></Taxonomy></View>'
    )
    assert match_labels(stars).unmatched == ()
    match = match_labels(kinds)
    assert (match.names("Things / Dog"), match.unmatched) == (("Dog",), ("Things",))
