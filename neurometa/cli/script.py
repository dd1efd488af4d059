"""What the command line and every script share: settings with presets, one-line errors, exit codes."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tyro

from ..errors import NeurometaError, unknown
from ..meta.train import Stopped

__all__ = ["guarded", "parse", "read_settings", "run_script"]

T = TypeVar("T")


class UsageError(NeurometaError):
    """The command line itself is wrong: exit status 2."""


def parse(kind: Any, arguments: Sequence[str], prog: str, **options: Any) -> Any:
    """Parse arguments with tyro; a mistake becomes one line.

    Parameters
    ----------
    kind : type
        A dataclass, or a union of them for subcommands.
    arguments : sequence of str
        Without the program's name.
    prog : str
        Name of the program.
    **options
        Passed on to ``tyro.cli``.

    Raises
    ------
    UsageError
        If the arguments do not fit.
    """
    buffer = io.StringIO()
    try:
        with contextlib.redirect_stderr(buffer):
            return tyro.cli(kind, args=list(arguments), prog=prog, **options)
    except SystemExit as stop:
        if stop.code in (0, None):
            sys.stderr.write(buffer.getvalue())
            raise
        raise UsageError(_one_line(buffer.getvalue(), prog)) from None


def _one_line(text: str, prog: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    plain = re.sub(r"[\u2500-\u257f]+", " ", plain)
    words = " ".join(plain.split())
    words = re.sub(r"^(Parsing error|Unrecognized options|Missing subcommand)\s+", "", words)
    words = re.split(r"\s*For full helptext", words)[0]
    return f"{words.rstrip('. ')}; see '{prog} --help'"


def read_settings(presets: Mapping[str, T], description: str, prog: str, arguments: Sequence[str] | None = None) -> T:
    """Read a script's settings: ``--preset NAME`` chooses the start, every field can be overridden.

    Parameters
    ----------
    presets : mapping of str to dataclass
        ``smoke``, ``default`` and ``paper``; the field docstrings are the help.
    description : str
        First lines of ``--help``.
    prog : str
        Name of the script.
    arguments : sequence of str, optional
        Default: the process's.

    Returns
    -------
    dataclass
        The settings.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = "default"
    for i, argument in enumerate(given):
        if argument == "--preset" or argument.startswith("--preset="):
            name = argument.partition("=")[2] if "=" in argument else (given[i + 1] if i + 1 < len(given) else "")
            del given[i : i + (1 if "=" in argument else 2)]
            break
    if name not in presets:
        raise UsageError(unknown("preset", name, presets))
    choices = ",".join(presets)
    text = f"{description.strip()}\n\n--preset {{{choices}}}  starts from other values; shown are those of '{name}'."
    default = presets[name]
    return parse(type(default), given, prog, default=default, description=text)


def guarded(main: Callable[[], int | None]) -> int:
    """Run a main function; every error of this package is one line on the error stream and an exit status.

    Returns
    -------
    int
        0; 1 for an error; 2 for wrong usage; 128 plus the signal's number where training was stopped.
    """
    try:
        return main() or 0
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(str(stop), file=sys.stderr)
        return 128 + stop.signum
    except NeurometaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"error: {error.filename or ''} {error.strerror or error}".replace("  ", " "), file=sys.stderr)
        return 1


def run_script(presets: Mapping[str, T], main: Callable[[T], None], description: str, prog: str) -> None:
    """Entry point of a script: read the settings, run, exit with a status."""
    sys.exit(guarded(lambda: main(read_settings(presets, description, prog))))
