"""Where numbers come from: commit, machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

__all__ = ["commit_of", "environment"]


def environment() -> dict[str, str]:
    """Return what decides whether a computation gives the same bits again: machine, versions, threads."""
    return {
        "machine": f"{platform.machine()} {_processor()}".strip(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "threads": str(torch.get_num_threads()),
    }


def _processor() -> str:
    """Return the model of the processor where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def commit_of(folder: str | os.PathLike[str]) -> str:
    """Return the commit of a checkout, with a plus where its tracked files were changed; empty outside of one."""

    def ask(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = ask("rev-parse", "--short=10", "HEAD")
        return commit + ("+" if commit and ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
