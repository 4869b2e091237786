"""A section of params.yaml: the base class of every room's ``params.py``."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
"""The largest seed that numpy, torch and scikit-learn all accept."""


class Section(BaseModel):
    """A section of params.yaml: immutable, without unknown keys. Its numbers are finite and not booleans."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, raw: Any) -> Any:
        return {} if raw is None else raw

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if {int, float} & kinds and any(isinstance(one, bool) for one in inner):
            raise ValueError("expected a number, not true or false")
        return value


def _kinds(annotation: Any) -> set[Any]:
    """The types in an annotation: int, float and None for ``tuple[int, ...] | float | None``."""
    inner = get_args(annotation)
    return set().union(*map(_kinds, inner)) if inner else {annotation}
