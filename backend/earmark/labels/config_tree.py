"""Label config as a tree of tags, read as Label Studio's editor reads it.

Names of tags and attributes are taken in any case, the text of a tag without children is its value, and a
``Repeater`` stands for numbered copies of what is in it. Document types and entities are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from earmark.errors import LabelConfigError

LONGEST_CONFIG = 1_000_000
"""Characters of a label config. One of 1,000 labels has some 60,000."""
DEEPEST = 100
"""Nesting of tags; a taxonomy has a few levels."""
REPEATS = 8
"""Copies that are parsed for a ``Repeater``; the data of a task decide how many it shows."""


@dataclass(frozen=True, eq=False)
class Tag:
    """One tag: ``name`` and names of ``attributes`` in lower case.

    ``repeated``: the tag is a copy made by a ``Repeater``, and ``first_name`` is the name of the first copy.
    """

    name: str
    attributes: dict[str, str]
    children: tuple[Tag, ...] = ()
    first_name: str = ""
    repeated: bool = False
    ancestors: tuple[Tag, ...] = field(default=(), repr=False)

    def get(self, attribute: str, default: str = "") -> str:
        """Return an attribute by its name in lower case."""
        return self.attributes.get(attribute, default)

    def flag(self, attribute: str, default: bool = False) -> bool:
        """Return whether an attribute is true."""
        return self.get(attribute, str(default)).strip().lower() == "true"

    def names(self, attribute: str) -> tuple[str, ...]:
        """Return the comma-separated names in an attribute."""
        return tuple(part.strip() for part in self.get(attribute).split(",") if part.strip())

    def walk(self) -> Iterator[Tag]:
        """Yield this tag and all in it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def lineage(self) -> Iterator[Tag]:
        """Yield this tag and those around it, from the inside out."""
        yield self
        yield from reversed(self.ancestors)


def parse_tree(label_config: str) -> Tag:
    """Parse a label config.

    Raises
    ------
    LabelConfigError
        The text is not XML, is too long, nests too deeply, or declares a document type or entities.
    """
    if len(label_config) > LONGEST_CONFIG:
        raise LabelConfigError(
            f"The label config has {len(label_config):,} characters, and Earmark reads {LONGEST_CONFIG:,}: "
            'move long lists of labels to the task\'s data, as in Choices with value="$variants".'
        )
    try:
        root = fromstring(label_config, forbid_dtd=True)
    except DefusedXmlException as error:
        raise LabelConfigError(
            "The label config declares a document type or entities, which Label Studio refuses too: "
            "write its text out."
        ) from error
    except (ParseError, ValueError) as error:
        raise LabelConfigError(
            f"The label config is not valid XML ({error}): correct it under Settings, Labeling Interface."
        ) from error
    return _tag(root, (), {}, {})


def _tag(element: Element, ancestors: tuple[Tag, ...], indices: dict[str, int], first: dict[str, int]) -> Tag:
    """Convert an element; ``indices`` replace the flags of repeaters around it, ``first`` in first names."""
    if len(ancestors) > DEEPEST:
        raise LabelConfigError(f"The label config nests tags more than {DEEPEST} deep: make it flatter.")
    attributes = {name.lower(): _replaced(value, indices) for name, value in element.attrib.items()}
    name = element.tag.lower() if isinstance(element.tag, str) else ""
    text = (element.text or "").strip()
    if text and not len(element):
        attributes["value"] = text
    own_name = next((value for key, value in element.attrib.items() if key.lower() == "name"), "")
    tag = Tag(name, attributes, (), _replaced(own_name, first), bool(indices), ancestors)
    inside = (*ancestors, tag)
    children: list[Tag] = []
    flag = attributes.get("indexflag", "{{idx}}")
    for index in range(REPEATS if name == "repeater" else 1):
        own = {flag: index} if name == "repeater" else {}
        zero = {flag: 0} if name == "repeater" else {}
        children += [_tag(child, inside, {**indices, **own}, {**first, **zero}) for child in element]
    # The tag is frozen, and its children name it as an ancestor
    object.__setattr__(tag, "children", tuple(children))
    return tag


def _replaced(text: str, indices: dict[str, int]) -> str:
    for flag, index in indices.items():
        text = text.replace(flag, str(index))
    return text
