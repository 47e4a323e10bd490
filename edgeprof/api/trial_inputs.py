"""Choose values for inputs of unknown meaning, so that a user's file gives a finite, varying result."""

from edgeprof import process
from edgeprof.errors import EdgeprofError
from edgeprof.inputs import Signature
from edgeprof.inputs.fills import ALTERNATIVES, kind_of_number
from edgeprof.inputs.run_inputs import Inputs
from edgeprof.measure.trial_worker import TrialRequest, TrialResult
from edgeprof.schema import Fill, Record


class ChosenFills(Record, frozen=True, kw_only=True):
    """The fills that were chosen for one file."""

    fills: dict[str, Fill]  # of the inputs of unknown meaning
    note: str = ""  # why no values give a result


def alternatives(signature: Signature, inputs: Inputs) -> list[dict[str, Fill]]:
    """Fills to try for the inputs of unknown meaning, the first by rule; a single empty one where there are none."""
    from_files = {value.name for value in inputs.values if value.fill == "file"}
    kinds = {
        value.name: kind_of_number(value.spec.dtype)
        for value in signature.inputs
        if not value.known and value.name not in from_files and value.spec.kind == "tensor"
    }
    choices = {name: ALTERNATIVES[kind] for name, kind in kinds.items() if kind in ("f", "i", "b")}
    tries = max(map(len, choices.values()), default=1)
    return [{name: fills[index % len(fills)] for name, fills in choices.items()} for index in range(tries)]


def working_fills(name: str, model: str, signature: Signature, inputs: Inputs, timeout_s: float | None) -> ChosenFills:
    """Try values for inputs of unknown meaning, until the outputs are finite and not all the same.

    Where the model does not run at all no fills are chosen; the visit of the point then records the reason.

    Args:
        name: of the model, for the note.
        inputs: at the size at which they are tried.
    """
    tried = alternatives(signature, inputs)
    if len(tried) == 1:
        return ChosenFills(fills={})
    candidates = tuple(inputs.refilled(signature, fills).values for fills in tried)
    try:
        request = TrialRequest(model=model, candidates=candidates)
        result = process.call("edgeprof.measure.trial_worker", request, TrialResult, timeout_s=timeout_s)
    except EdgeprofError:  # it cannot be loaded, or crashes; the visit records that
        return ChosenFills(fills={})
    note = ""
    if result.problem:
        options = " ".join(f"--input {name}=FILE.npy" for name in tried[0])
        note = f"{name}: {result.problem} with all values tried. Use real ones: {options}"
    return ChosenFills(fills=tried[result.chosen], note=note)
