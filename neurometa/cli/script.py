"""What the command line and every script share: settings with presets, one-line errors, exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import tyro

from ..errors import NeurometaError, unknown
from ..meta.train import Stopped

__all__ = ["UsageError", "guarded", "parse", "read_settings", "run_script"]

T = TypeVar("T")


class UsageError(NeurometaError):
    """The command line itself is wrong: exit status 2."""


class _Terminated(BaseException):
    """SIGTERM arrived outside training; never caught on the way, so that everything is cleaned up."""


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
            sys.stdout.flush()
            raise
        command = "" if dataclasses.is_dataclass(kind) or arguments[0].startswith("-") else f" {arguments[0]}"
        raise UsageError(_one_line(buffer.getvalue(), prog, command)) from None


def _one_line(text: str, prog: str, command: str) -> str:
    """Turn tyro's box into one line: what is wrong, what was perhaps meant, and where the help is."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).translate({0x2500: "-", 0x2502: "|"})
    # A ruler separates; of other lines the box's sides are taken off.
    lines = ["" if "-----" in line else re.sub(r"^\s*\|?\s*|\s*\|?\s*$", "", line) for line in plain.splitlines()]
    sections = re.split(r"\n\s*\n", "\n".join(lines).strip())
    if len(sections) > 1 and "\u256d" not in plain:  # without a box (no corner), the title comes first
        del sections[0]
    message, *rest = sections
    said = " ".join(message.split()).rstrip(" .")
    others = " ".join(" ".join(rest).split())
    if "Available subcommands" in others:
        found = re.split(r" For full", others)[0]
        return f"{said}; {found[0].lower()}{found[1:]}; see '{prog} --help'"
    here = f"in {prog}{command} --help"
    near, option = [], ""
    for line in "\n".join(rest).splitlines() if "nrecognized" in said else ():
        match = re.match(r"(--[\w-]+)", line)
        option = match[1] if match else option
        if option and option not in near and (not command or " ".join(line.split()) == here):
            near.append(option)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{said}{meant}; see '{prog}{command} --help'"


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

    Raises
    ------
    UsageError
        If there is no such preset, or the arguments do not fit.
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

    Parameters
    ----------
    main : callable
        Returns an exit status; None is 0.

    Returns
    -------
    int
        0; 1 for an error; 2 for wrong usage; 128 plus the signal's number where it was stopped.
    """
    with _terminable():
        try:
            status = main() or 0
            sys.stdout.flush()
            return status
        except Stopped as stop:
            return _say(str(stop), 128 + stop.signum)
        except NeurometaError as error:
            return _say(f"error: {error}", 2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            return _say("stopped", 128 + signal.SIGINT)
        except _Terminated:
            return _say("stopped", 128 + signal.SIGTERM)
        except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
            _flush_or_drop()
            return 1
        except OSError as error:
            _flush_or_drop()
            return _say(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", 1)
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not re.search(r"allocate|out of memory", str(error)):
                raise
            return _say("error: not enough memory; use fewer tasks at once, or a smaller network", 1)


def _say(text: str, status: int) -> int:
    """Write one line to the error stream."""
    print(" ".join(text.split()), file=sys.stderr)
    return status


def _flush_or_drop() -> None:
    """Write what standard output still holds, or send it nowhere: the interpreter would complain when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the program in order, as Ctrl-C does, unless it is ignored."""

    def stop(number, frame):
        raise _Terminated

    inside = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGTERM) if inside else signal.SIG_IGN
    if previous in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def run_script(presets: Mapping[str, T], main: Callable[[T], None], description: str, prog: str) -> None:
    """Entry point of a script: read the settings, run, exit with a status."""
    replace_unprintable()
    sys.exit(guarded(lambda: main(read_settings(presets, description, prog))))


def replace_unprintable() -> None:
    """Write ``?`` for characters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
