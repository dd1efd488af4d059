"""A folder of strategies is its own registry: every module in it is a name that a user may type."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from .errors import SpecificationError, unknown

__all__ = ["by_class", "load", "names"]


def names(package: ModuleType) -> list[str]:
    """Return the public modules of a package, sorted; ``base`` and names with a leading underscore are not listed."""
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def load(package: ModuleType, name: str, kind: str):
    """Return what a module of the package registers.

    Parameters
    ----------
    package : module
        The folder, for example ``neurometa.rules``.
    name : str
        Name of a module in it. The module holds the object of the same name, or one class whose name is the
        module's in CamelCase, the kind appended or not (``plastic`` holds ``PlasticLearner``).
    kind : str
        Word for the error message, such as ``"rule"``.

    Raises
    ------
    SpecificationError
        If the folder has no such module.
    """
    if name not in names(package):
        raise SpecificationError(unknown(kind, name, names(package)))
    module = importlib.import_module(f"{package.__name__}.{name}")
    camel = "".join(word.capitalize() for word in name.split("_"))
    for attribute in (name, camel, camel + kind.capitalize()):
        if attribute in vars(module):
            return vars(module)[attribute]
    raise SpecificationError(f"{module.__name__} defines neither '{name}' nor '{camel}'; name one of them so")


def by_class(package: ModuleType, name: str, kind: str):
    """Return a class that a module of the package registers, by the name of the class; for ``__getattr__``.

    Raises
    ------
    AttributeError
        If no module registers a class of this name.
    """
    for module in names(package) if name[:1].isupper() else ():
        camel = "".join(word.capitalize() for word in module.split("_"))
        if name in (camel, camel + kind.capitalize()):
            return load(package, module, kind)
    raise AttributeError(f"module '{package.__name__}' has no attribute '{name}'")
