"""What goes to a terminal: what comes from a corpus, a file's name or a command line can do no more there than be read."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from nextlong.errors import NextlongError, UsageError
from nextlong.public_text import printable, redacted

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
ENDED = 143  # 128 and the number of SIGTERM, as shells count

# How long tidying up may take after SIGTERM: less than the 30 seconds after which Slurm and Kubernetes send SIGKILL.
END_SECONDS = 25
_ENDED = "Ended. Run the same command again to go on: what is finished is kept."

_PLAIN_WIDTH = 120


def console() -> Console:
    """Standard output; wide enough for the outline where it is no terminal. Square brackets and colons are only that."""
    plain = Console(**_AS_IT_IS)
    return plain if plain.is_terminal else Console(width=_PLAIN_WIDTH, **_AS_IT_IS)


def error_console() -> Console:
    """Standard error, for lines that the terminal wraps."""
    return Console(file=sys.stderr, soft_wrap=True, **_AS_IT_IS)


_AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}


def safe(value: object) -> str:
    """Text as one may print it. Its further lines are indented: none can pass for one of another kind."""
    first, *others = printable(redacted(str(value))).split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)])


def name(value: object) -> str:
    """A value as one may print it on one line, such as the name of a folder."""
    return printable(redacted(str(value)), lines=False)


def cell(value: object, style: str = "") -> Text:
    """A value as it may stand in a table."""
    return Text(name(value), style=style)


def say(text: str, err: bool = False) -> None:
    """Print lines, to standard output or standard error; values in them are brought by :func:`name`."""
    typer.echo(printable(redacted(text)), err=err)


def say_unexpected(error: BaseException) -> None:
    """An error that nobody foresaw, with where it happened, for whoever mends it."""
    say(safe("".join(traceback.format_exception(error)).rstrip()), err=True)
    say("error: this should not happen. Please report it with the lines above; what is finished is kept.", err=True)


class Ended(KeyboardInterrupt):
    """SIGTERM came: what batch systems send some time before they kill."""


def end_like_interrupted() -> None:
    """Let SIGTERM end this process as Ctrl-C does: workers are stopped, and nothing half written is left.

    An exception that comes at any moment can also come while some library holds a lock that it needs to end. Nobody sends
    SIGTERM twice, so a process that has not ended in good time ends at once: less tidy, and no less safe than SIGKILL.
    """

    def end_at_once(*_: Any) -> None:
        with suppress(OSError):  # nobody reads any more
            os.write(2, f"{_ENDED}\n".encode())
        os._exit(ENDED)

    def end(*_: Any) -> None:
        if hasattr(signal, "SIGALRM"):  # not on Windows, where nobody sends SIGTERM either
            signal.signal(signal.SIGALRM, end_at_once)
            signal.alarm(END_SECONDS)
        raise Ended

    signal.signal(signal.SIGTERM, end)


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Errors as lines that say what to do, and the exit codes."""
    console = error_console()
    try:
        yield
    except NextlongError as error:
        console.print(f"error: {safe(error.message)}")
        if error.hint:
            console.print(f"  {safe(error.hint)}")
        raise typer.Exit(WRONG_USAGE if isinstance(error, UsageError) else FAILED) from error
    except OSError as error:  # the file system's own words, such as a full disk or a missing right
        console.print(f"error: {safe(error)}")
        console.print("  What is finished is kept; run the same command again when this is mended.")
        raise typer.Exit(FAILED) from error
    except MemoryError as error:
        console.print("error: There is not enough memory.")
        console.print("  Fewer --workers need less. What is finished is kept; run the same command again.")
        raise typer.Exit(FAILED) from error
    except Ended as error:
        console.print(_ENDED)
        raise typer.Exit(ENDED) from error
    except KeyboardInterrupt as error:
        console.print("Interrupted. Run the same command again to go on: what is finished is kept.")
        raise typer.Exit(INTERRUPTED) from error


@contextmanager
def _printable_errors() -> Iterator[None]:
    # Typer quotes the words of a command line in its errors, and a pattern of the shell may have put in any file's name.
    try:
        with errors_for_people():  # of values that are looked at while they are parsed
            yield
    except Exception as error:
        message = getattr(error, "message", None)
        if hasattr(error, "format_message") and isinstance(message, str):
            vars(error)["message"] = safe(message)
        raise


class Command(TyperCommand):
    """A command whose errors quote nothing raw."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """See :class:`typer.core.TyperCommand`."""
        with _printable_errors():
            return super().make_context(*arguments, **options)


class Group(TyperGroup):
    """The commands, with errors that quote nothing raw."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """See :class:`typer.core.TyperGroup`."""
        with _printable_errors():
            return super().make_context(*arguments, **options)

    def resolve_command(self, *arguments: Any, **options: Any) -> Any:
        """See :class:`typer.core.TyperGroup`."""
        with _printable_errors():
            return super().resolve_command(*arguments, **options)
