"""The sizes that a user requests for a model, and the shape they mean for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from edgeprof import units
from edgeprof.errors import UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs import LoadRequest, Signature
from edgeprof.inputs.run_inputs import IMAGE, Inputs, end_token, of_file, of_variant, usual_sizes
from edgeprof.schema import Artifact, Case, Phase, Record, Variant
from edgeprof.store import sha256_of

PhaseChoice = Literal["prefill", "decode", "both"]

TOKENS, SAMPLES, FRAMES = 512, 16_000, 1_000
"""Usual lengths: of text, of audio as samples (a second), and of audio as frames (ten seconds)."""


class Sizing(Record, frozen=True, kw_only=True):
    """The sizes a user gives for files: `--seq`, `--batch`, `--dim` and `--input`."""

    seq: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()
    dims: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)
    files: dict[str, Path] = {}  # noqa: RUF012

    def __bool__(self) -> bool:
        return bool(self.seq or self.batch or self.dims or self.files)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal where files get the same sizes and values; empty without any."""
        if not self:
            return ()
        files = {name: sha256_of(file) for name, file in self.files.items()}
        return (self.seq, self.batch, self.dims, files)

    def refuse(self, name: str) -> None:
        """Refuse sizes for a model that was exported here: it is compared at the sizes of its reference values.

        Raises:
            UsageError: there are some.
        """
        for option, given in (("--seq", self.seq), ("--batch", self.batch)):
            if given:
                raise UsageError(
                    f"{name} was exported by edgeprof and is compared at the sizes of its reference values.",
                    f"Leave {option} out.",
                )
        require_no_sizing(name, self.dims, self.files)


def require_no_sizing(name: str, dims: Mapping[str, int], given: Mapping[str, Path]) -> None:
    """Refuse --dim and --input for a model that was exported here: its axes and values are known.

    Raises:
        UsageError: there are some.
    """
    for option, values in (("--dim", dims), ("--input", given)):
        if values:
            raise UsageError(
                f"{option} is for .onnx files from elsewhere; {name} is sized by --seq and --batch.",
                f"Leave {option} out.",
            )


def inputs_of(
    artifact: Artifact,
    signature: Signature,
    load: LoadRequest,
    *,
    dims: Mapping[str, int],
    files: Mapping[str, Path],
) -> Inputs:
    """The inputs of a graph of an artifact at a load: as its family describes them, or by their names and symbols.

    Raises:
        UsageError: the model takes no input of that length, or a size is missing.
    """
    variant = traced_variant(artifact)
    if variant is not None:
        require_no_sizing(artifact.name, dims, files)
        if load.length is None:
            raise UsageError("A token length is required.", "Add --seq 512, or --seq 16,64,256.")
        return of_variant(
            signature, variant, case_for(artifact.name, variant, load.phase, load.batch or 1, load.length)
        )
    if artifact.exported:
        _require_length(artifact.name, signature, load, sized=bool(dims or files))
    inputs = of_file(signature, load, dims=dims, given=files, usual=usual_sizes(artifact), end=end_token(artifact))
    if artifact.exported and signature.axes_of("tokens", "past"):
        _require_within(artifact.name, inputs.case, artifact.max_tokens, None)
    return inputs


def usual_length(signature: Signature) -> int:
    """A token length that a model usually takes; of audio a second of samples, or ten of frames."""
    if signature.axes_of("tokens", "past", "total", "source"):
        return min(TOKENS, (signature.room or TOKENS + 1) - 1)
    frames = [one for one, _, _ in signature.axes_of("frames")]
    if not frames:
        return TOKENS
    return SAMPLES if len(frames[0].spec.dims) == 2 else FRAMES


def _require_length(name: str, signature: Signature, load: LoadRequest, sized: bool) -> None:
    """Refuse a missing length, or one that no axis of the graph has."""
    if load.length is None and signature.sized_by_length and not sized:
        tokens, usual = signature.axes_of("tokens", "past", "total", "source"), usual_length(signature)
        what = "A token length" if tokens else "A number of audio frames or samples"
        raise UsageError(f"{what} is required for {name}.", f"Add --seq {usual}.")
    if load.length is not None and not signature.sized_by_length and not signature.past:
        images = signature.axes_of("height", "width")
        symbols = dict.fromkeys(dim for _, _, dim in images if isinstance(dim, str) and dim)
        dims = " ".join(f"--dim {symbol}={IMAGE}" for symbol in symbols)
        advice = f"Leave --seq out; to choose their size: {dims}" if dims else "Leave --seq out."
        takes = "images, which --seq does not size" if images else "inputs of one size, whatever --seq says"
        raise UsageError(f"{name} takes {takes}.", advice)


def case_for(name: str, variant: Variant, phase: Phase, batch: int, length: int) -> Case:
    """The shape for a length and a batch size; for images the largest with at most that many tokens.

    Raises:
        UsageError: the model takes no input of that length.
    """
    family = family_of(variant)
    case = family.case(variant, phase, batch, length)
    tokens = family.true_tokens(variant, case.tokens)
    if not tokens:
        raise UsageError(f"No input of {name} is as short as --seq {length}.", "Use a larger --seq.")
    case = msgspec.structs.replace(case, tokens=tokens)
    _require_within(name, case, variant.max_tokens, family.fixed_tokens(variant, phase))
    return case


def _require_within(name: str, case: Case, most: int | None, only: int | None) -> None:
    total = case.tokens + case.past_tokens
    if only == total:
        return
    if only is not None:
        raise UsageError(
            f"{name} takes {units.counted(only, 'token')} and no other number, but {total} are requested.",
            f"Use --seq {only}, or leave this model out.",
        )
    if most is not None and total > most:
        new = units.counted(case.tokens, "new token")
        what = f"{case.past_tokens} cached and {new}" if case.past_tokens else units.counted(total, "token")
        raise UsageError(
            f"{name} takes at most {units.counted(most, 'token')}, but {what} are requested.",
            "Use a shorter --seq, or leave this model out.",
        )
