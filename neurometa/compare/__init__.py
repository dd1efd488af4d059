"""Learners compared under one protocol: the same tasks, information and budget, with controls and paired intervals.

The module is called like a function: ``nm.compare(plan, out="runs/mine")``, or on finished runs
``nm.compare({"rule": run, "MAML": other})``; see `compare.comparison.compare`.
"""

from ..callable_module import make_callable
from .comparison import Comparison, compare
from .controls import CONTROLS, retrained
from .fairness import check_fair
from .plan import Arm, Plan

__all__ = ["CONTROLS", "Arm", "Comparison", "Plan", "check_fair", "compare", "retrained"]

make_callable(__name__, compare)
