"""Brian2 objects that write down what is done with them, as the lines of a script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Handle", "Recorder"]

#: Arrays with more numbers than this go to the file of arrays.
LONGEST = 8


class Recorder:
    """Stands in for the module brian2 while a network is built: every object is made, and its line written.

    Parameters
    ----------
    b2 : module
        brian2.
    names : mapping of str to str
        Brian2 name of an object -> variable of the script, where they differ.
    comments : mapping of str to str
        Brian2 name of an object -> comment above its line.
    """

    def __init__(self, b2: Any, names: Mapping[str, str], comments: Mapping[str, str]):
        self.b2, self.names, self.comments = b2, names, comments
        self.lines: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        #: texts of functions by the name under which formulas call them
        self.functions: dict[str, str] = {}
        self.ms, self.Function = b2.ms, b2.Function

    def __getattr__(self, name: str) -> Any:
        return Handle(self, getattr(self.b2, name), name)

    def write(self, line: str) -> None:
        """Add a line, or a block."""
        self.lines.append(line)

    def variable(self, name: str) -> str:
        """Return the script's variable for an object of this Brian2 name."""
        return self.names.get(name, name)

    def wrap(self, real: Any, text: str) -> Any:
        """Return what Brian2 answered: plain values as they are, objects so that they go on writing."""
        plain = real is None or isinstance(real, bool | int | float | str | np.ndarray | np.generic | list | tuple)
        return real if plain or isinstance(real, self.b2.Quantity) else Handle(self, real, text)

    # Values as text

    def text(self, value: Any, place: str = "values", indent: int = 4) -> str:
        """Return how the script writes a value; large arrays go to the file of arrays, under the given place."""
        if isinstance(value, Handle):
            return value._text
        if isinstance(value, self.b2.Quantity) and not isinstance(value, self.b2.Unit):
            return f"{self.text(np.asarray(value) * 1e3, place)} * ms"
        if isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values()):
            codes = [f'        "{name}": {self._block(text, indent + 4)},\n' for name, text in value.items()]
            return "{\n" + "".join(codes) + "    }" if codes else "None"
        if isinstance(value, Mapping):
            return self._functions(value)
        if isinstance(value, str):
            return self._block(value, indent)
        if isinstance(value, np.ndarray):
            return self._array(value, place)
        if isinstance(value, np.generic):
            return repr(value.item())
        return repr(value)

    def _array(self, value: np.ndarray, place: str) -> str:
        if value.size and value.dtype.kind == "f" and np.all(value == value.ravel()[0]):
            return repr(float(value.ravel()[0]))
        if value.ndim == 1 and np.array_equal(value, np.arange(len(value))) and value.dtype.kind == "i":
            return f"np.arange({len(value)})"
        if value.ndim == 1 and value.size <= LONGEST:
            return f"np.array({value.tolist()})"
        name, k = place, 2
        while name in self.arrays and not np.array_equal(self.arrays[name], value):
            name, k = f"{place}_{k}", k + 1
        self.arrays[name] = np.array(value)
        return f'data["{name}"]'

    def _block(self, value: str, indent: int) -> str:
        lines = value.splitlines()
        if len(lines) < 2:
            return f'"{value}"'
        space = " " * (indent + 4)
        return '"""\n' + "".join(f"{space}{line}\n" for line in lines) + f'{space[4:]}"""'

    def _functions(self, value: Mapping[str, Any]) -> str:
        own = [f'"{name}": {self.functions[name]}' for name in value if name in self.functions]
        return "{**functions, " + ", ".join(own) + "}" if own else "functions"


class Handle:
    """One object and its name in the script; see `Recorder`."""

    __slots__ = ("_real", "_recorder", "_text")

    def __init__(self, recorder: Recorder, real: Any, text: str):
        for name, value in (("_recorder", recorder), ("_real", real), ("_text", text)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return self._recorder.wrap(getattr(self._real, name), f"{self._text}.{name}")

    def __getitem__(self, key: str) -> Any:
        return self._recorder.wrap(self._real[key], f'{self._text}["{key}"]')

    def get(self, key: str) -> Any:
        """Return an entry of a dictionary, None if there is none."""
        return self[key] if key in self._real else None

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, _real(value))
        if name == "when":
            self._recorder.write(f"next_is({self._text})")
            return
        place = re.sub(r"\W+", "_", f"{self._text}_{name}")
        self._recorder.write(f"{self._text}.{name} = {self._recorder.text(value, place)}")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self._real)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it, and write the line."""
        recorder = self._recorder
        made = self._real(*map(_real, args), **{name: _real(value) for name, value in options.items()})
        name = options.get("name")
        if self._text.endswith(".run_regularly"):
            target = self._text.removesuffix(".run_regularly")
            recorder.write(f"each_step({target}, {recorder.text(_plain(args[0]), indent=0)})")
            return Handle(recorder, made, self._text)
        place = re.sub(r"\W+", "_", self._text)
        texts = [recorder.text(arg, place) for arg in args]
        texts += [f"{key}={recorder.text(v, f'{place}_{key}')}" for key, v in options.items() if key != "name"]
        if name is None:
            call = f"{self._text}({', '.join(texts)})"
            if self._text.endswith(("connect", "update")):
                recorder.write(call)
            return recorder.wrap(made, call)
        variable = recorder.variable(name)
        texts.append(f'name="{variable}"')
        if name in recorder.comments:
            recorder.write(f"\n# {recorder.comments[name]}")
        call = ", ".join(texts)
        if len(call) > 80 or "\n" in call:
            call = "\n" + "".join(f"    {text},\n" for text in texts)
        recorder.write(f"{variable} = {self._text}({call})")
        if not isinstance(made, recorder.b2.Clock):
            recorder.write(f"objects.append({variable})")
        return Handle(recorder, made, variable)


def _plain(code: str) -> str:
    """Leave out the detour over a new name where one is copied: there is no arithmetic to keep in order."""
    match = re.fullmatch(r"(new_(\w+)) = ([\w.]+)\n(\w+) = (\w+)", code)
    if match and match[2] == match[4] and match[1] == match[5]:
        return f"{match[2]} = {match[3]}"
    return code


def _real(value: Any) -> Any:
    return value._real if isinstance(value, Handle) else value
