"""The command line. The only place that prints, prompts or exits; each command is a file with one library call."""

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from edgeprof.cli import signals
from edgeprof.errors import EdgeprofError, UnknownSizes, UsageError
from edgeprof.text import abbreviated, visible

LONG_WORD = re.compile(r"\S{400,}")
INTERRUPTED = 130  # 128 + SIGINT, as typer counts too


def main() -> None:
    """Run the command of `sys.argv` and exit: 0 done, 1 failed, 2 wrong usage, 130, 143 or 129 ended by a signal."""
    signals.listen()
    try:
        code = _run()
        sys.stdout.flush()
    except EdgeprofError as problem:
        _fail(problem, _with_command(problem), problem.exit_code)
    except KeyboardInterrupt as problem:
        _fail(problem, signals.sentence(), signals.code())
    except BrokenPipeError:  # the reader has quit, as in `edgeprof models --json | head`; typer also exits with 1 then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:  # for a path that the system rejects
        _fail(problem, f"{problem.filename} cannot be used: {problem.strerror}. Check the path.", 1)
    except Exception as problem:  # noqa: BLE001  (users get a sentence in any case)
        what = f"An unexpected error occurred ({type(problem).__name__}: {problem})."
        _fail(problem, f"{what} Set EDGEPROF_DEBUG=1 to see its traceback.", 1)
    sys.exit(code)


def _run() -> int:
    """Run the command and return its exit code; errors of typer become UsageErrors."""
    import typer

    from edgeprof.cli.app import app

    usage_error: Any = typer.BadParameter.__bases__[0]  # its module differs between versions of typer
    _require_text(sys.argv)
    try:
        code = app(standalone_mode=False)
    except typer.Abort as problem:
        raise KeyboardInterrupt from problem
    except usage_error as problem:
        message, command = problem.format_message(), problem.ctx.command_path if problem.ctx else "edgeprof"
        if not message:  # no command: typer has shown the help
            return 2
        raise UsageError(message.rstrip(".") + ".", f"Run: {command} --help") from problem
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0


def _require_text(words: Sequence[str]) -> None:
    """Require UTF-8: names go into records. Python represents other bytes of arguments as lone surrogates."""
    for word in words:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise UsageError(f"{word} is not UTF-8 text.", "Rename the file.")


def _shortened(text: str) -> str:
    return LONG_WORD.sub(lambda word: abbreviated(word[0]), text)


def _with_command(problem: EdgeprofError) -> str:
    """The message; where options are missing, with the complete command."""
    if not isinstance(problem, UnknownSizes) or not problem.options:
        return str(problem)
    words = [word for option in problem.options for word in option]
    return f"{problem.what} Run: {shlex.join(['edgeprof', *sys.argv[1:], *words])}"


def _fail(problem: BaseException, sentence: str, code: int) -> None:
    if os.environ.get("EDGEPROF_DEBUG"):
        raise problem
    with contextlib.suppress(OSError):  # the terminal is gone
        print(f"edgeprof: {visible(_shortened(sentence))}", file=sys.stderr, flush=True)
    sys.exit(code)
