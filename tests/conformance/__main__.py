"""`make conformance`: the models of the onnx package's backend test suite, through what edgeprof does with a file.

Every model goes through these commands, with the inputs of its first data set: `explain` (output shapes are held
against those that onnxruntime gives), `quantize` (int8; all inputs but the first are weights), `pin` (all shapes fixed,
attention written out; outputs are held against the original's), `fold` (the same, all inputs being constants) and
`profile` (loaded and run twice). One process at a time, bounded in time and memory.
"""

import sys
from collections import Counter
from collections.abc import Iterator

from tests.benchmarks import results

from .commands import COMMANDS, NOT_LOADED
from .models import examples
from .worker import Worker

TITLE = "Conformance: the onnx package's own models"


def main(names: list[str]) -> int:
    """All models, or those whose names hold one of `names`; 1 if there is any outcome that should not be."""
    counts, wrong, unloaded = {command: Counter[str]() for command in COMMANDS}, list[str](), list[str]()
    chosen = [
        (number, one.name)
        for number, one in enumerate(examples())
        if not names or any(name in one.name for name in names)
    ]
    with Worker() as worker:
        for done, (number, name) in enumerate(chosen):
            for command in COMMANDS:
                outcome, message = worker.ask(command, number)
                counts[command][outcome] += 1
                if outcome == "wrong":
                    wrong.append(f"{command} {name}: {' '.join(message.split())[:300]}")
                    print(wrong[-1], flush=True)
                elif message.startswith(NOT_LOADED):
                    unloaded.append(name)
            if not done % 200:
                print(f"{done} of {len(chosen)}", flush=True)
    lines = list(_table(counts, wrong, unloaded))
    print("\n".join(lines))
    if not names:
        results.write(TITLE, (__doc__ or "").strip(), lines)
    return bool(wrong)


def _table(counts: dict[str, Counter[str]], wrong: list[str], unloaded: list[str]) -> Iterator[str]:
    yield "| command | models | answered | refused with one sentence | anything else |"
    yield "|---|---|---|---|---|"
    for command, result in counts.items():
        yield f"| {command} | {result.total()} | {result['answered']} | {result['refused']} | {result['wrong']} |"
    if unloaded:
        yield ""
        yield f"Refused by onnxruntime only once they are pinned: {', '.join(unloaded)}."
    yield from ["", *(f"- {line}" for line in wrong)] if wrong else ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
