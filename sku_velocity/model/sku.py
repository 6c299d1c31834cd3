"""Which text may be a SKU: a regular expression that all of it matches, or any printable text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pydantic_core import CoreSchema, SchemaError, SchemaValidator, core_schema

MAX_SKU = 255  # characters
DEFAULT_PATTERN = "^[A-Z0-9-]+$"
ANY = "any"
# At least one character that is not a space, and no control, format, private or unassigned one.
PRINTABLE = r"^(?:[^\p{C}\p{Z}]| )*[^\p{C}\p{Z}](?:[^\p{C}\p{Z}]| )*$"
_ALPHABET = f"must contain only A-Z, 0-9 and '-', at most {MAX_SKU} characters"
_IS_PRINTABLE = f"must be printable text of at most {MAX_SKU} characters, and not blank"


@dataclass(frozen=True)
class SkuRule:
    """The rule of a source's SKUs. `pattern` is a regular expression of Rust's `regex` crate, or `any`.

    A SKU is always printable and of at most 255 characters, so that every store, file and page can hold it.
    """

    pattern: str = DEFAULT_PATTERN

    @property
    def message(self) -> str:
        """The rule in words, for the reason of a reject."""
        if self.pattern == DEFAULT_PATTERN:
            return _ALPHABET
        return _IS_PRINTABLE if self.pattern == ANY else f"must match {self.pattern}; {_IS_PRINTABLE}"

    def schema(self) -> CoreSchema:
        """Return the schema of a SKU, whose errors do not have the rule's message."""
        patterns = [] if self.pattern == ANY else [f"^(?:{self.pattern})$"]
        if self.pattern != DEFAULT_PATTERN:
            patterns.append(PRINTABLE)
        rules: list[CoreSchema] = [
            core_schema.str_schema(pattern=each, max_length=MAX_SKU, coerce_numbers_to_str=True)
            for each in patterns
        ]
        return rules[0] if len(rules) == 1 else core_schema.chain_schema(rules)

    def check(self) -> None:
        """Raise ValueError, with the reason, if the pattern is not a regular expression."""
        for pattern in (self.pattern, f"^(?:{self.pattern})$"):  # a)(b is one only within the parentheses
            try:
                SchemaValidator(core_schema.str_schema(pattern=pattern))
            except SchemaError as error:
                reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
                raise ValueError(
                    f"{self.pattern!r} is not a regular expression as Rust's regex crate reads it: {reason}"
                ) from error

    def accepts(self, text: str) -> bool:
        """Return True if a text may be a SKU."""
        return self._validator.isinstance_python(text)

    @cached_property
    def _validator(self) -> SchemaValidator:
        return SchemaValidator(self.schema())
