"""The way from and to Brian2's own language: scripts of live objects in, stand-alone scripts out."""

from .imported import Imported, ImportedSynapses, from_brian2
from .model_string import synapses_text
from .script import brian2_script

__all__ = ["Imported", "ImportedSynapses", "brian2_script", "from_brian2", "synapses_text"]
