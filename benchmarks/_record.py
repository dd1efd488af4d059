"""What every benchmark writes: its figures with settings, machine, versions and commit."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from neurometa.files import write_atomically
from neurometa.provenance import commit_of, environment

__all__ = ["place", "wait", "write_record"]


def wait(device: str) -> None:
    """Wait until a GPU has done what it was given; a clock read before says nothing."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def place(device: str) -> str:
    """Return in words where figures were measured on a device."""
    on_gpu = torch.device(device).type == "cuda"
    return torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads"


def write_record(settings: Any, **figures: Any) -> None:
    """Write figures as JSON to ``settings.out``, with the dataclass of settings and where they were measured."""
    record = {
        "settings": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()},
        **figures,
        "environment": {**environment(), "place": place(getattr(settings, "device", "cpu"))},
        "commit": commit_of(Path(__file__).parent),
    }
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(settings.out, lambda file: file.write(json.dumps(record, indent=1).encode()))
