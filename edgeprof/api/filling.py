"""Values for inputs of unknown meaning: those with which a file from elsewhere gives a result."""

from edgeprof import process
from edgeprof.api.shaping import Inputs
from edgeprof.errors import EdgeprofError
from edgeprof.inputs import Signature, fill
from edgeprof.inputs.fills import ALTERNATIVES, kind_of_number
from edgeprof.measure.trial import TrialRequest, Tried
from edgeprof.schema import Fill, Record


class Found(Record, frozen=True, kw_only=True):
    fills: dict[str, Fill]  # of the inputs of unknown meaning
    note: str = ""  # why no values give a result


def found_fills(name: str, model: str, taken: Signature, inputs: Inputs, timeout_s: float | None) -> Found:
    """Try values for the inputs whose meaning is not known, until the outputs are finite and not all the same.

    Where the model does not run at all nothing is found, and the visit of the point tells why.

    Args:
        name: of the model, for the note.
        inputs: at the size at which they are tried.
    """
    given = {value.name: value for value in inputs.values if value.fill == "file"}
    unknown = {one.name: one for one in taken.inputs if not one.known and one.name not in given}
    kinds = {name: kind_of_number(one.spec.dtype) for name, one in unknown.items() if one.spec.kind == "tensor"}
    choices = {name: ALTERNATIVES[kind] for name, kind in kinds.items() if kind in ("f", "i", "b")}
    if not choices:
        return Found(fills={})
    tries = max(map(len, choices.values()))
    tried = [{name: fills[index % len(fills)] for name, fills in choices.items()} for index in range(tries)]
    candidates = tuple(fill(taken, inputs.sizes, given=given, chosen=fills) for fills in tried)
    try:
        request = TrialRequest(model=model, candidates=candidates)
        found = process.call("edgeprof.measure.trial", request, Tried, timeout_s=timeout_s)
    except EdgeprofError:  # it cannot be loaded, or crashes: so will the visit, which records it
        return Found(fills={})
    note = ""
    if found.problem:
        options = " ".join(f"--input {name}=FILE.npy" for name in choices)
        note = f"{name}: {found.problem}, whatever values are tried. Give real ones: {options}"
    return Found(fills=tried[found.chosen], note=note)
