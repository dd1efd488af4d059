"""The torch engine: runs a description with batched, differentiable tensors."""

from .params import constrain, init_params, unconstrain
from .program import Program, prepare, program, start
from .simulate import simulate
from .step import make_step

__all__ = ["Program", "constrain", "init_params", "make_step", "prepare", "program", "simulate", "start", "unconstrain"]
