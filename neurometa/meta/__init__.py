"""Training and evaluation: the outer loop, run folders, tables with floor, ceiling and intervals."""

from .bundle import meta_train_seeds
from .evaluate import Table, ablate, evaluate
from .folder import RunFolder
from .run import Run, load_run
from .train import meta_train

__all__ = ["Run", "RunFolder", "Table", "ablate", "evaluate", "load_run", "meta_train", "meta_train_seeds"]
