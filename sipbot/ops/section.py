"""What all sections of the configuration share: the base model and the types of common values."""

from __future__ import annotations

import re
from collections.abc import Sized
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # of agents and trunks


def not_empty(values: Sized) -> Sized:
    """Raises ValueError for nothing."""
    if not values:
        raise ValueError("must hold at least one")
    return values


def matching(pattern: str, message: str) -> AfterValidator:
    """A check that a whole text fits ``pattern``."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(message)
        return text

    return AfterValidator(check)


# A checker of its own instead of min_length, which would also complain of a list whose only item
# is wrong.
NotEmpty = (AfterValidator(not_empty), Field(json_schema_extra={"minItems": 1}))
Name = Annotated[
    str, matching(NAME_PATTERN, "a name has up to 64 letters, digits and _.- and starts plainly")
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """Part of the file: unknown keys are mistakes, an empty section means its defaults."""

    model_config = ConfigDict(
        extra="forbid",
        # Edge and workers get a checked configuration: only who reads the file builds validators.
        defer_build=True,
        frozen=True,
        coerce_numbers_to_str=True,
        validate_by_name=True,
        validate_by_alias=True,
    )
    empty_means_defaults: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, data: Any) -> Any:
        return {} if data is None and cls.empty_means_defaults else data
