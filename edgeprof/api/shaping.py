"""The inputs of a model at a shape: sizes from its family where that is known, else from the names in the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeprof.families import family_of
from edgeprof.measure import inputs as measure_inputs
from edgeprof.schema import Case, InputValue, TensorSpec, Variant


def caches(specs: Sequence[TensorSpec]) -> bool:
    """Whether a graph takes a KV cache, and so can decode: by the name that the ecosystem gives it."""
    return any(spec.name.startswith("past") for spec in specs)


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
