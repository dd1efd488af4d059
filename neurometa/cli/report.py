"""``neurometa report``: a comparison as a page, as Markdown and as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..report import report
from .output import print_json

__all__ = ["Report"]


@dataclass
class Report:
    """Write the report of a comparison: one HTML page that needs nothing else, Markdown with figures, and CSV tables.

    `neurometa compare` does it by itself; type this after an upgrade, or to put the report elsewhere.
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a comparison."""
    out: Path | None = None
    """Where to write; default: the same folder."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Write, and print where."""
        paths = report(self.folder, self.out)
        if self.json:
            print_json({name: str(path) for name, path in paths._asdict().items()})
        else:
            print(f"page:     {paths.html}\nMarkdown: {paths.markdown}\ntables:   {paths.tables}")
        return 0
