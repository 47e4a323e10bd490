"""`explain`: where parameters, MACs and bytes come from; closed forms for variants, node by node for ONNX files."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

import msgspec

from edgeprof import counting, store
from edgeprof.analysis import ledger as ledgers
from edgeprof.analysis.counted import explained
from edgeprof.api.shaping import caches, inputs_at
from edgeprof.api.targets import name_of
from edgeprof.errors import UnknownName, UsageError
from edgeprof.families import checkpoint, family_of, find_variant, resized, variants
from edgeprof.families.base import WEIGHT_BYTES
from edgeprof.measure import inputs as measure_inputs
from edgeprof.process import Progress, silent
from edgeprof.schema import Artifact, Case, Explanation, Ledger, Phase, TensorSpec, Variant
from edgeprof.text import shortened, visible

TOKENS = 512
FP32 = "fp32"


def explain(
    target: str,
    *,
    seq: Sequence[int] = (),
    batch: int = 1,
    phase: Phase = "prefill",
    precision: str | None = None,
    dims: Mapping[str, int] | None = None,
    width: int | None = None,
    tokens: int | None = None,
    heads: int | None = None,
    cross: int | None = None,
    models: Path = store.MODELS,
    progress: Progress = silent,
) -> Explanation:
    """Tell where parameters, MACs and bytes of a model come from; no torch, and no weights are read.

    Args:
        target: a variant, a checkpoint folder, an exported name or folder, or any .onnx file.
        seq: token lengths (in decode: tokens cached); the longest that the model takes is explained, and all of them
            are in `lengths`. Default 512, or what the file has.
        phase: "decode" processes one token with `seq` tokens in the KV cache.
        precision: of the weights, of variants and checkpoints; default fp32. A file has its own.
        dims: sizes of dimensions that a file gives no usual name.
        width, tokens, heads, cross: of variants that take them (the mixers).
        models: where exported names are looked up.
        progress: called with what is being done.

    Raises:
        UsageError: no such model, or a request that it cannot meet.
        ModelFileError: not a readable ONNX file, or one without shapes.
    """
    options = {"width": width, "tokens": tokens, "heads": heads, "cross": cross}
    file = _file(target, models)
    if file is None:
        variant = resized(_variant(target, models), **options)
        found = _explain_variant(variant, tuple(seq), batch, phase, precision or FP32)
    else:
        for name, value in {**options, "precision": precision}.items():
            if value is not None:
                raise UsageError(f"--{name} is for variants; {file} has its own.", f"Leave --{name} out.")
        found = _explain_file(file, tuple(seq), batch, phase, dict(dims or {}), progress)
    return msgspec.structs.replace(found, captions=explained(found)) if found.lengths else found


# --- what is meant -------------------------------------------------------------------------------------


def _file(target: str, models: Path) -> Path | None:
    """The graph that a target means; None where it means a variant or a checkpoint."""
    path = Path(target)
    if target.endswith(".onnx") or path.is_file():
        return path
    folder = path if path.is_dir() else models / target
    known = target in {variant.name for variant in variants()} and not path.is_dir()
    if known or not folder.is_dir():
        return None
    found = [store.load_artifact(one) for one in store.artifact_folders(folder)]
    names = sorted({artifact.name for artifact in found})
    if len(names) > 1:
        raise UsageError(f"{target} holds several models.", f"Name one of them: {', '.join(names)}.")
    return Path(found[0].path) if found else None


def _variant(target: str, models: Path) -> Variant:
    folder = Path(target).expanduser()
    if folder.is_dir():
        return checkpoint.read(folder.resolve(), folder.resolve().name)[0]
    if target.startswith((".", "/", "~")):
        raise UsageError(f"There is no folder or file {target}.", "Check the path.")
    try:
        return find_variant(target)
    except UnknownName as problem:
        exported = [path.name for path in models.iterdir() if path.is_dir()] if models.is_dir() else []
        raise UnknownName(
            "variant, checkpoint folder or .onnx file", target, [*(v.name for v in variants()), *exported]
        ) from problem


# --- closed forms --------------------------------------------------------------------------------------


def _explain_variant(variant: Variant, seq: tuple[int, ...], batch: int, phase: Phase, precision: str) -> Explanation:
    family = family_of(variant)
    if precision not in WEIGHT_BYTES:
        raise UnknownName("precision", precision, WEIGHT_BYTES)
    if phase == "decode" and not family.caches(variant):
        raise UsageError(f"{variant.name} has no KV cache, so it cannot decode.", "Ask for --phase prefill.")

    def at(length: int) -> Ledger:
        return ledgers.ledger(variant, ledgers.case_of(phase, batch, length), precision, phase)

    asked = seq or (family.fixed_tokens(variant) or min(TOKENS, variant.max_tokens or TOKENS),)
    lengths = _lengths(variant, asked, phase)
    chosen = _longest(lengths, variant, phase)
    return Explanation(
        ledger=at(chosen),
        doubled=at(2 * chosen),
        crossovers=ledgers.crossovers(at),
        lengths=tuple(map(at, lengths)) if len(lengths) > 1 else (),
        notes=_notes(variant, asked, lengths, phase),
    )


def _lengths(variant: Variant, asked: Sequence[int], phase: Phase) -> tuple[int, ...]:
    """What the variant can be given of the lengths asked for: at most as many tokens each."""
    if phase == "decode":
        return tuple(dict.fromkeys(asked))
    lengths = tuple(dict.fromkeys(family_of(variant).true_tokens(variant, length) for length in asked))
    if not all(lengths):
        raise UsageError(f"No input of {variant.name} is as short as --seq {min(asked)}.", "Ask for a longer --seq.")
    return lengths


def _longest(lengths: Sequence[int], variant: Variant | None, phase: Phase) -> int:
    """The longest length that the model takes; if it takes none of them, the shortest."""
    most = _most(variant) if variant else None
    fitting = [n for n in lengths if most is None or n + (phase == "decode") <= most]
    return max(fitting, default=min(lengths))


def _most(variant: Variant) -> int | None:
    """The tokens that a variant takes at most. What has one length only is another model at another length."""
    return None if family_of(variant).fixed_tokens(variant) else variant.max_tokens


def _notes(variant: Variant, asked: Sequence[int], lengths: Sequence[int], phase: Phase) -> tuple[str, ...]:
    notes = list(family_of(variant).notes(variant))
    most, only = _most(variant), family_of(variant).fixed_tokens(variant)
    if most is not None and max(lengths) + (phase == "decode") > most:
        notes.append(
            f"{variant.name} takes at most {most:,} tokens: beyond that the formulas still hold, "
            "and export and profile refuse."
        )
    if only is not None and tuple(lengths) != (only,):
        notes.append(f"{variant.name} has {only:,} tokens: at another length it is another model, with other weights.")
    return (*notes, *_rounded(asked, lengths))


def _rounded(asked: Sequence[int], lengths: Sequence[int]) -> list[str]:
    if len(asked) > 1 or tuple(asked) == tuple(lengths):
        return []
    return [f"{asked[0]:,} tokens are asked for; the largest input with at most so many has {lengths[0]:,}."]


# --- files ---------------------------------------------------------------------------------------------


def _explain_file(
    path: Path, seq: tuple[int, ...], batch: int, phase: Phase, dims: dict[str, int], progress: Progress
) -> Explanation:
    model = counting.read(path)
    specs = counting.inputs(model)
    artifact = _artifact(path)
    variant = artifact.variant if artifact else None
    if phase == "decode" and not caches(specs):
        raise UsageError(f"{path} takes no KV cache, so it cannot decode.", "Ask for --phase prefill.")
    held = measure_inputs.fixed_past(specs)
    if held:
        phase = "decode"

    def at(length: int) -> Ledger:
        progress(f"counting at {length:,} tokens" if length else "counting", None)
        case = ledgers.case_of(phase, batch, length)
        values = inputs_at(specs, variant, case, dims=dims)
        tokens = case.tokens or measure_inputs.token_length(values) or 1
        return ledgers.of_graph(
            artifact.name if artifact else name_of(path),
            counting.count(model, {value.name: value.shape for value in values}),
            Case(batch=batch, tokens=tokens, past_tokens=case.past_tokens),
            precision=artifact.precision if artifact else "as stored",
            phase=phase,
            cache_bytes=_cache_bytes(specs, variant, case, dims),
        )

    if held:
        ledger, *_ = [at(length) for length in seq or (held,)]  # other lengths than its own are refused
        return Explanation(ledger=ledger)
    if not seq and variant is None and not measure_inputs.takes_tokens(specs):
        return Explanation(ledger=at(0))
    asked = seq or (TOKENS,)
    lengths = _lengths(variant, asked, phase) if variant else tuple(dict.fromkeys(asked))
    swept = [at(length) for length in lengths]
    fewest = min(len(one.uncounted) for one in swept)
    whole = [one for one in swept if len(one.uncounted) == fewest]  # at others a table of the graph is too short
    chosen = _longest([one.length for one in whole], variant, phase)
    ledger, doubled = next(one for one in whole if one.length == chosen), at(2 * chosen)
    return Explanation(
        ledger=ledger,
        doubled=doubled if len(doubled.uncounted) == fewest else None,
        lengths=tuple(whole) if len(whole) > 1 else (),
        notes=(*_rounded(asked, lengths), *_not_counted(swept, whole)),
    )


def _not_counted(swept: Sequence[Ledger], whole: Sequence[Ledger]) -> list[str]:
    left = [f"{one.length:,}" for one in swept if one not in whole]
    return [f"The graph does not work at {', '.join(left)} tokens: shapes in it do not fit together."] if left else []


def _artifact(path: Path) -> Artifact | None:
    """What is known of a file that was exported here."""
    folder = path.parent
    if not (folder / store.ARTIFACT_FILE).is_file():
        return None
    artifact = store.load_artifact(folder)
    return artifact if Path(artifact.path) == path.absolute() else None


def _cache_bytes(specs: Sequence[TensorSpec], variant: Variant | None, case: Case, dims: Mapping[str, int]) -> int:
    """Of the KV cache at the end of a run: as large as it would be as the input of the next."""
    import numpy as np

    if not caches(specs):
        return 0
    grown = 0 if measure_inputs.fixed_past(specs) else case.tokens
    after = Case(batch=case.batch, tokens=1, past_tokens=case.past_tokens + grown)
    values = [value for value in inputs_at(specs, variant, after, dims=dims) if value.name.startswith("past")]
    return sum(prod(value.shape) * np.dtype(value.dtype).itemsize for value in values)


# --- pictures ------------------------------------------------------------------------------------------


def draw_explanation(found: Explanation, *, out: Path = store.REPORTS, progress: Progress = silent) -> list[Path]:
    """Draw what was explained over several token lengths: MACs, and memory, by component.

    Args:
        found: with `lengths`.
        out: the folder that receives `explain-<name>/`.

    Returns:
        The paths of page and pictures.

    Raises:
        StorageError: the disk refused.
    """
    from edgeprof import report

    return report.write_explanation(
        out / f"explain-{shortened(visible(found.ledger.name), 100)}", found, progress=progress
    )
