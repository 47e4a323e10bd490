"""The command line. The only place that prints, prompts or exits; a verb is a file, a parse and one library call."""

import os
import sys

from edgeprof.errors import EdgeprofError


def main() -> None:
    """Run the command of `sys.argv` and exit: 0 done, 1 failed, 2 wrong usage."""
    from edgeprof.cli.app import app

    try:
        app()
    except EdgeprofError as problem:
        _fail(problem, str(problem), problem.exit_code)
    except KeyboardInterrupt as problem:
        _fail(problem, "Interrupted; what was finished is on disk.", 1)
    except Exception as problem:  # noqa: BLE001  (a user gets a sentence, whatever happens)
        what = f"edgeprof met an error it does not know ({type(problem).__name__}: {problem})."
        _fail(problem, f"{what} Set EDGEPROF_DEBUG=1 to see where.", 1)


def _fail(problem: BaseException, sentence: str, code: int) -> None:
    if os.environ.get("EDGEPROF_DEBUG"):
        raise problem
    print(f"edgeprof: {sentence}", file=sys.stderr)
    sys.exit(code)
