"""The Brian2 engine: the same description and text in a second simulator (Stimberg 2019, doi:10.7554/eLife.47314).

brian2 is imported in one module of this package, when a simulation is run.
"""

from .simulate import simulate

__all__ = ["simulate"]
