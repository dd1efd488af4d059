"""Which settings of two runs differ, in words."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["differences"]


def differences(there: Any, here: Any, path: str = "") -> list[str]:
    """Name the settings that differ between two configurations.

    Strategies of another name differ as a whole; populations, projections and the like are compared by their names.

    Parameters
    ----------
    there, here : dict
        Configurations, as ``json`` reads them.
    path : str
        Where they are, for the message.

    Returns
    -------
    list of str
        One text per difference; empty if there is none.

    Examples
    --------
    >>> a = {"seed": 0, "task": {"name": "glyphs", "settings": {"n_way": 5}}}
    >>> differences(a, {"seed": 1, "task": {"name": "glyphs", "settings": {"n_way": 20}}})
    ['task.n_way is 5 there, 20 here', 'seed is 0 there, 1 here']
    >>> differences(a, {"seed": 0, "task": {"name": "tracking", "settings": {"q": 0.1}}})
    ['task is glyphs there, tracking here']
    """
    if there == here:
        return []
    if isinstance(there, dict) and isinstance(here, dict):
        a, b = there.get("name"), here.get("name")
        if a != b and isinstance(a, str) and isinstance(b, str):
            return [f"{path} is {a} there, {b} here"]
        keys = sorted({*there, *here}, key=lambda key: (not isinstance(there.get(key), dict | list), key))
        return [d for key in keys for d in differences(there.get(key), here.get(key), _below(path, key))]
    if isinstance(there, list) and isinstance(here, list):
        a, b = _by_name(there), _by_name(here)
        if a and b and [*a] == [*b]:
            return [d for key in a for d in differences(a[key], b[key], _below(path, key))]
        if a and b:
            there, here = [*a], [*b]
    return [f"{path} is {_short(there)} there, {_short(here)} here"]


def _below(path: str, key: str) -> str:
    return path if key == "settings" else f"{path}.{key}".lstrip(".")


def _by_name(items: list[Any]) -> dict[str, Any]:
    """Index described things by their names, or by what they join; empty where they have none."""
    found = {}
    for item in items:
        if not isinstance(item, dict):
            return {}
        found[str(item.get("name") or f"{item.get('pre')}__{item.get('post')}")] = item
    return found if len(found) == len(items) else {}


def _short(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return value["name"]
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
