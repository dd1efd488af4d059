"""What every description shares: text and numbers only, comparison, hash, and a JSON round trip."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import keyword
import re
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import SpecificationError, unknown
from ..expression import FUNCTIONS, POPULATION_FUNCTIONS, UNITS

__all__ = ["Description", "check_choice", "check_name", "decode", "encode"]

_KINDS: dict[str, type[Description]] = {}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
#: Names with a meaning in Brian2, in every text here, in JSON or in the parameter tree; none may be declared.
RESERVED = frozenset(
    "e pi inf nan t dt i j N xi one noise pre post w w_eff n_pre n_post int delay t_in_timesteps "
    "not_refractory refractory refractory_until tan arcsin arccos sinh cosh log10 log1p expm1 exprel floor ceil "
    "rand randn poisson timestep kind trunk learner model".split()
)

D = TypeVar("D", bound="Description")


class Description:
    """Base of all descriptions: frozen dataclasses of text, sizes and initial values, without tensors.

    Two descriptions are equal when their JSON is, and hash alike then.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        _KINDS[cls.__name__] = cls

    def _freeze(self, *fields: str) -> None:
        """Replace mappings by read-only copies and lists by tuples (called from ``__post_init__``)."""
        declared = {f.name: str(f.type) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        for name in fields:
            value, mapping = getattr(self, name), "Mapping" in declared[name]
            if not isinstance(value, Mapping if mapping else list | tuple):
                kind = "mapping" if mapping else "tuple"
                raise SpecificationError(f"{type(self).__name__}.{name} must be a {kind}, not {value!r}")
            object.__setattr__(self, name, MappingProxyType(dict(value)) if mapping else tuple(value))

    def to_json(self, indent: int | None = None) -> str:
        """Return the description as JSON text that `from_json` reads back."""
        return self._json if indent is None else json.dumps(encode(self), indent=indent)

    @cached_property
    def _json(self) -> str:
        return json.dumps(encode(self))

    @classmethod
    def from_json(cls: type[D], text: str) -> D:
        """Rebuild a description from `to_json`.

        Raises
        ------
        SpecificationError
            If the text is not JSON, or not a description of this kind.
        """
        try:
            found = decode(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            raise SpecificationError(f"not JSON: {error}") from None
        if not isinstance(found, cls):
            raise SpecificationError(f"found a {type(found).__name__} where a {cls.__name__} was expected")
        return found

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the JSON text: the same on every machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """Compare by JSON."""
        return isinstance(other, Description) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Hash of the JSON text."""
        return hash(self.to_json())

    def __getstate__(self) -> dict[str, Any]:
        """Support copying and pickling in spite of read-only mappings."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` saved."""
        for name, value in state.items():
            object.__setattr__(self, name, MappingProxyType(value) if isinstance(value, dict) else value)


def encode(value: Any) -> Any:
    """Turn descriptions, mappings and tuples into what ``json`` writes."""
    if isinstance(value, Description):
        fields = dataclasses.fields(value)  # type: ignore[arg-type]
        return {"kind": type(value).__name__, **{f.name: encode(getattr(value, f.name)) for f in fields}}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encode(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise SpecificationError(f"a description holds text and numbers only, found {type(value).__name__}")


def decode(value: Any) -> Any:
    """Invert `encode`; only the description classes of this package are ever built."""
    if isinstance(value, dict):
        fields = {k: decode(v) for k, v in value.items() if k != "kind"}
        if "kind" not in value:
            return fields
        kind = value["kind"]
        if not isinstance(kind, str) or kind not in _KINDS:
            raise SpecificationError(unknown("kind of description", str(kind), _KINDS))
        try:
            return _KINDS[kind](**fields)
        except (TypeError, AttributeError) as error:
            raise SpecificationError(f"{kind}: {error}") from None
    if isinstance(value, list):
        return tuple(decode(v) for v in value)
    return value


def check_name(name: Any, where: str, taken: Mapping[str, Any] | frozenset[str] = frozenset()) -> None:
    """Refuse a name that cannot be declared, and say why."""
    if not isinstance(name, str) or not _NAME.match(name) or "__" in name:
        raise SpecificationError(f"{where}: {name!r} is not a name; use letters, digits and single underscores")
    meant = name in RESERVED or name in FUNCTIONS or name in POPULATION_FUNCTIONS or name in UNITS
    if meant or name.startswith("xi_") or keyword.iskeyword(name):
        raise SpecificationError(f"{where}: the name '{name}' is reserved; choose another")
    if name.endswith(("_pre", "_post")):
        raise SpecificationError(f"{where}: '{name}' may not end in _pre or _post; choose another")
    if name in taken:
        raise SpecificationError(f"{where}: the name '{name}' is used twice; choose another")


def check_choice(value: Any, allowed: tuple[Any, ...], where: str) -> None:
    """Refuse a value outside a short list."""
    if value not in allowed:
        raise SpecificationError(f"{where} is {value!r}; allowed: {', '.join(map(repr, allowed))}")
