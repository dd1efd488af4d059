"""A comparison as a page that people read.

The module is called like a function: ``nm.report("runs/compare/volatility-default")``; see `report.write.report`.
"""

from ..callable_module import make_callable
from .write import Paths, report

__all__ = ["Paths", "report"]

make_callable(__name__, report)
