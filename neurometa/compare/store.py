"""Results that are computed once: a comparison that was killed goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import reason, write_atomically
from ..meta.compare import differences

__all__ = ["Store"]


class Store:
    """Named results in a folder, one small JSON file each.

    Numbers are written so that they are read back bit for bit.

    Parameters
    ----------
    folder : path, optional
        Where they are kept; None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike[str] | None):
        self.folder = None if folder is None else Path(folder)

    def open(self, config: dict[str, Any]) -> None:
        """Make the folder for a configuration, or check that it is the one that is there.

        Raises
        ------
        RunError
            If the folder holds another comparison, or cannot be used.
        """
        if self.folder is None:
            return
        config = json.loads(json.dumps(config))
        path = self.folder / "plan.json"
        try:
            (self.folder / "parts").mkdir(parents=True, exist_ok=True)
            found = json.loads(path.read_text()) if path.exists() else None
        except (OSError, ValueError) as error:
            raise RunError(f"cannot use {self.folder}: {reason(error)}; choose another folder (--out)") from None
        if found is None:
            write_atomically(path, lambda file: file.write(json.dumps(config, indent=1).encode()))
        elif changed := differences(found, config):
            more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise RunError(
                f"{self.folder} holds another comparison: {'; '.join(changed[:4])}{more}; choose another folder "
                "(--out), or the same settings to continue it"
            )

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a result by its name, computed where it is not there yet.

        Parameters
        ----------
        name : str
            Of a file name's characters.
        compute : callable
            Returns what ``json`` writes.
        """
        if self.folder is None:
            return compute()
        path = self.folder / "parts" / f"{name}.json"
        if path.exists():
            try:
                return json.loads(path.read_text())
            except (OSError, ValueError) as error:
                raise RunError(
                    f"{path} is damaged ({reason(error)}); delete it and type the same command again"
                ) from None
        found = compute()
        write_atomically(path, lambda file: file.write(json.dumps(found).encode()))
        return found
