"""Values of a task's data, as the editor resolves them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.labels.task_values import expression, resolve, resolve_address

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@pytest.mark.parametrize(
    ("attribute", "data", "address"),
    [
        ("$audio", {"audio": " /a.wav "}, "/a.wav"),
        ("$a.b", {"a": {"b": "/a.wav"}}, "/a.wav"),
        ("$a.b", {"a.b": "/a.wav"}, "/a.wav"),
        ("$a[1].url", {"a": [{}, {"url": "/a.wav"}]}, "/a.wav"),
        ("$a[0]", {"a": []}, ""),
        ("https://h/$name.wav", {"name": "x"}, "https://h/x.wav"),
        ("https://h/$rec.id.wav", {"rec": {"id": 7}}, "https://h/7.wav"),
        ("https://h/$a/$b", {"a": "x", "b": "$a"}, "https://h/x/$a"),
        ("https://h/$a/$b", {"a": "x"}, ""),
        ("$audio", {"$undefined$": "/a.wav"}, "/a.wav"),
        ("$audio", {"audio": 3}, ""),
        ("$audio", None, ""),
    ],
)
def test_addresses(attribute: str, data: object, address: str) -> None:
    assert resolve_address(data, expression(attribute)) == address


@given(st.text(), JSON)
def test_any_attribute_and_any_data_have_an_answer(attribute: str, data: object) -> None:
    assert isinstance(resolve_address(data, expression(attribute)), str)
    resolve(data, attribute)
