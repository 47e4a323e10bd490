"""The command line. The only place that prints, prompts or exits; a verb is a file, a parse and one library call."""

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
    except BrokenPipeError:  # nobody reads on, as of `edgeprof models --json | head`; typer also ends with 1 then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as problem:  # of a path that the system does not even look at
        _fail(problem, f"{problem.filename} cannot be used: {problem.strerror}. Check the path.", 1)
    except Exception as problem:  # noqa: BLE001  (a user gets a sentence, whatever happens)
        what = f"edgeprof met an error it does not know ({type(problem).__name__}: {problem})."
        _fail(problem, f"{what} Set EDGEPROF_DEBUG=1 to see where.", 1)
    sys.exit(code)


def _run() -> int:
    """The exit code of the command; what typer itself finds wrong becomes one of edgeprof's own errors."""
    import typer

    from edgeprof.cli.app import app

    wrong: Any = typer.BadParameter.__bases__[0]  # the base of usage errors lies elsewhere in every version of typer
    _require_text(sys.argv)
    try:
        code = app(standalone_mode=False)
    except typer.Abort as problem:
        raise KeyboardInterrupt from problem
    except wrong as problem:
        said, verb = problem.format_message(), problem.ctx.command_path if problem.ctx else "edgeprof"
        if not said:  # no command: typer has shown the help
            return 2
        raise UsageError(said.rstrip(".") + ".", f"Run: {verb} --help") from problem
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code or 0


def _require_text(words: Sequence[str]) -> None:
    """Records are UTF-8, and so is every name in them; what is not comes from Python with parts of characters."""
    for word in words:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise UsageError(f"{word} is not UTF-8 text.", "Rename the file.")


def _shortened(text: str) -> str:
    return LONG_WORD.sub(lambda word: abbreviated(word[0]), text)


def _with_command(problem: EdgeprofError) -> str:
    """The message; where options are missing, with the whole command to type."""
    if not isinstance(problem, UnknownSizes):
        return str(problem)
    words = [word for option in problem.options for word in option]
    return f"{problem.what} Run: {shlex.join(['edgeprof', *sys.argv[1:], *words])}"


def _fail(problem: BaseException, sentence: str, code: int) -> None:
    if os.environ.get("EDGEPROF_DEBUG"):
        raise problem
    with contextlib.suppress(OSError):  # the terminal is gone
        print(f"edgeprof: {visible(_shortened(sentence))}", file=sys.stderr, flush=True)
    sys.exit(code)
