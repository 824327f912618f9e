"""The generated document: up to date, right by AsyncAPI's own parser, and true of the decoder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from signalling import schema
from signalling.messages import MessageError, decode_client, encode
from tests.integrations.node_package import node_package

from .messages import CLIENT_KINDS, FROM_CLIENT, FROM_SERVER, SERVER_KINDS

DOCUMENT = schema.document()
SCHEMAS = DOCUMENT["components"]["schemas"]


def validator(kind: type) -> Draft202012Validator:
    # The parts refer to each other by their place in the document.
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{kind.__name__}", "components": {"schemas": SCHEMAS}}
    )


def test_the_file_is_what_the_types_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schema.main(["--check"]) == 0, "run python -m signalling.schema"
    monkeypatch.setattr(schema, "PATH", tmp_path / "found.json")
    assert schema.main(["--check"]) == 1
    assert "found.json is out of date: run python -m signalling.schema" in capsys.readouterr().err
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0


def test_every_message_goes_the_ways_that_it_goes() -> None:
    ways: dict[str, set[str]] = {"receive": set(), "send": set()}
    for operation in DOCUMENT["operations"].values():
        names = {message["$ref"].rpartition("/")[2] for message in operation["messages"]}
        ways[operation["action"]] |= names
    for action, kinds in (("receive", CLIENT_KINDS), ("send", SERVER_KINDS)):
        assert ways[action] == {kind.__struct_config__.tag for kind in kinds}
    assert set(DOCUMENT["components"]["messages"]) == ways["receive"] | ways["send"]


def test_everything_is_described_and_nothing_in_the_markup_of_the_sources() -> None:
    for name, part in SCHEMAS.items():
        assert part["description"], name
    for message in DOCUMENT["components"]["messages"].values():
        assert message["summary"]
    assert not [
        mark for mark in (":class:", ":data:", "``", r"\\A", r"\\Z") if mark in schema.text()
    ]
    assert SCHEMAS["Welcome"]["properties"]["complete"]
    told = SCHEMAS["Welcome"]["properties"]["resume_window_s"]["description"]
    assert told == "How long the seat is kept after the connection is lost, in seconds."


@pytest.mark.parametrize("message", [*FROM_CLIENT, *FROM_SERVER], ids=lambda m: type(m).__name__)
def test_what_is_sent_is_as_the_schema_says(message: Any) -> None:
    check = validator(type(message))
    fields = json.loads(encode(message))
    check.validate(fields)
    assert not check.is_valid({**fields, "colour": "red"})
    assert not check.is_valid({**fields, "type": "nonsense"})


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**53 + 1),
    # 1.0 is an integer to JSON Schema, and none to the decoder.
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: not value.is_integer()),
    st.text(max_size=70),
    st.sampled_from(["pad:1", "host", "open", "anna", "a b", "a\n", "ask"]),
    st.just([]),
    st.just({}),
)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(message=st.sampled_from(FROM_CLIENT), data=st.data())
def test_schema_and_decoder_agree(message: Any, data: st.DataObject) -> None:
    fields = json.loads(encode(message))
    names = [field.name for field in msgspec.structs.fields(message)]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else ():
        fields[name] = data.draw(VALUES)
    try:
        decoded = type(decode_client(json.dumps(fields))) is type(message)
    except MessageError:
        decoded = False
    assert validator(type(message)).is_valid(fields) is decoded


def test_asyncapis_own_parser_takes_it() -> None:
    script = node_package(
        "asyncapi", "@asyncapi/parser@3", Path(__file__).with_name("asyncapi_parse.mjs")
    )
    done = subprocess.run(
        ["node", script], input=schema.text(), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found == {
        "valid": True,
        "version": "3.0.0",
        "operations": len(DOCUMENT["operations"]),
        "problems": [],
    }
