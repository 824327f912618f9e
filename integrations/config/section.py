"""What the parts of the settings tree are made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
"""A duration in seconds."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP or UDP port; 0 is any free one."""

Count = Annotated[int, Field(ge=1, le=10_000_000)]
"""A number of things, at least one."""


class Section(BaseModel):
    """A part of the tree. Attribute docstrings are the settings' documentation."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


def _split(value: Any) -> Any:
    """Environment variables and secret files have no lists: commas or white space will do."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("is not a JSON list") from None
    return value.replace(",", " ").split()


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Words: a list in a file, words with commas or spaces between them in the environment."""

SecretWords = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
"""The same, of secrets."""
