"""The inputs of a model at a shape: sizes from its family where that is known, else from the names in the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from edgeprof.analysis.ledger import case_of
from edgeprof.errors import UsageError
from edgeprof.families import family_of
from edgeprof.measure import inputs as measure_inputs
from edgeprof.schema import Case, InputValue, Phase, TensorSpec, Variant

PhaseChoice = Literal["prefill", "decode", "both"]


def caches(specs: Sequence[TensorSpec]) -> bool:
    """Whether a graph takes a KV cache, and so can decode: by the name that the ecosystem gives it."""
    return any(spec.name.startswith("past") for spec in specs)


def case_for(name: str, variant: Variant, phase: Phase, batch: int, length: int) -> Case:
    """The shape that a length and a batch size mean for a model: of images, the largest one with so many tokens.

    Raises:
        UsageError: the model takes no input of that length.
    """
    case, family = case_of(phase, batch, length), family_of(variant)
    tokens = family.true_tokens(variant, case.tokens)
    if not tokens:
        raise UsageError(f"No input of {name} is as short as --seq {length}.", "Ask for a larger --seq.")
    case = Case(batch=batch, tokens=tokens, past_tokens=case.past_tokens)
    _require_within(name, case, variant.max_tokens, family.fixed_tokens(variant))
    return case


def _require_within(name: str, case: Case, most: int | None, only: int | None) -> None:
    wanted = case.tokens + case.past_tokens
    if only is not None and wanted != only:
        raise UsageError(
            f"{name} takes {only} tokens and no other number, and {wanted} are asked for.",
            f"Ask for --seq {only}, or leave this model out.",
        )
    if most is not None and wanted > most:
        what = f"{case.past_tokens} cached and {case.tokens} new tokens" if case.past_tokens else f"{wanted} tokens"
        raise UsageError(
            f"{name} takes at most {most} tokens, and {what} are asked for.",
            "Ask for a shorter --seq, or leave this model out.",
        )


def inputs_at(
    specs: Sequence[TensorSpec],
    variant: Variant | None,
    case: Case,
    *,
    dims: Mapping[str, int] | None = None,
    files: Mapping[str, Path] | None = None,
) -> tuple[InputValue, ...]:
    """One value per input. `case.tokens` is 0 where no token length is asked for (a file that fixes its own).

    Raises:
        UsageError, UnknownName: as `measure.inputs.bind`.
    """
    sizes, vocabulary = dict(dims or {}), 2
    if variant is not None:
        family = family_of(variant)
        symbols = {dim for spec in specs for dim in spec.dims if isinstance(dim, str)}
        sizes |= {symbol: size for symbol, size in family.sizes(variant, case).items() if symbol in symbols}
        vocabulary = family.summary(variant).vocabulary or vocabulary
    return measure_inputs.bind(
        specs,
        batch=case.batch,
        tokens=None if variant is not None or not case.tokens else case.tokens,
        past_tokens=case.past_tokens,
        vocabulary=vocabulary,
        dims=sizes,
        files=files,
    )
