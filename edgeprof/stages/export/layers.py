"""Trace a few layers of each kind and replicate them: the time of an export then hardly grows with depth.

The blocks of a transformer are one module over and over: they differ in their weights alone. `traced` shortens the list
of blocks to the first and two more of each kind, has the short model traced, compares the two, and repeats them in the
graph for all that were left out. A value that a block reads is then one of these:

    hidden  what the block before hands on
    own     a weight of the block, or a graph input of its layer (a part of the KV cache)
    shared  the same value in both: masks, rotary tables, the position bias of T5's first block

Anything else, or any difference between the two, and all layers are traced. Either result is verified.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from edgeprof.stages.export.replication import NotReplicable, Replication, Stack, number_of, order

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeprof.stages.export.blueprint import Blueprint

T = TypeVar("T")

PLAIN = (bool, int, float, str, tuple, list, dict, type(None))
"""Types of attributes of a module whose values are compared; of others, the type is."""


def shown(model: torch.nn.Module, run: Callable[[], T]) -> T:
    """What a model with few of its layers shows as well as the whole one, and sooner.

    Args:
        run: is called while the model consists of few layers, and once more with all where this does not succeed.
    """
    with shortened(model) as stacks:
        if stacks:
            with contextlib.suppress(Exception):  # whatever a shortened model cannot do: only the whole one counts
                return run()
    return run()


def traced(
    model: torch.nn.Module,
    whole: Blueprint,
    describe: Callable[[], Blueprint],
    trace: Callable[[Blueprint], ir.Model],
) -> ir.Model:
    """The graph of a model, from a trace of few of its layers where possible.

    Args:
        model: is as before when the call returns.
        whole: the graph to be.
        describe: makes the blueprint of the same graph for the model as it then is, with few of its layers. Inputs and
            outputs of one layer have its number between dots: past_key_values.3.key.
        trace: traces a blueprint, and translates it to ONNX.
    """
    with shortened(model) as stacks:
        if stacks:
            with contextlib.suppress(Exception):  # as above
                return _replicated(stacks, whole, describe(), trace)
    return trace(whole)


def _replicated(
    stacks: list[Stack], whole: Blueprint, short: Blueprint, trace: Callable[[Blueprint], ir.Model]
) -> ir.Model:
    inputs, outputs = [spec.name for spec in whole.inputs], list(whole.outputs)
    numbered = _numbered(stacks, [*inputs, *outputs])
    unread = [spec.name for spec in short.inputs if number_of(spec.name) is None and spec.name not in inputs]
    model = trace(short.without(unread) if unread else short)
    for stack in stacks:
        names = (inputs, outputs) if stack is numbered else ([], [])
        Replication(model.graph, stack, *names).run()
    order(model.graph, inputs, outputs)
    return model


def _numbered(stacks: list[Stack], names: list[str]) -> Stack | None:
    """The stack whose layers the numbers in names mean: in a model with several, decoders come last.

    Raises:
        NotReplicable: none has as many layers.
    """
    count = len({number_of(name) for name in names} - {None})
    fitting = [stack for stack in stacks if len(stack.layers) == count]
    if count and not fitting:
        raise NotReplicable(f"no stack has {count} layers")
    return fitting[-1] if count else None


# --- the shortened model -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def shortened(model: torch.nn.Module) -> Iterator[list[Stack]]:
    """Leave out layers that are like others, in every stack of the model; as before at the end."""
    stacks = list(_stacks(model))
    with contextlib.ExitStack() as undo:
        for stack in stacks:
            owner, _, name = stack.name.rpartition(".")
            _shorten(model.get_submodule(owner), name, stack, undo)
        yield stacks


def _stacks(model: torch.nn.Module, name: str = "") -> Iterator[Stack]:
    """Outermost lists of modules that have at least one layer to leave out."""
    import torch

    for child_name, child in model.named_children():
        path = f"{name}.{child_name}".lstrip(".")
        if isinstance(child, torch.nn.ModuleList):
            stack = _stack(path, list(child), _listed(model, len(child)))
            if len(stack.kept) < len(stack.layers):
                yield stack
                continue
        yield from _stacks(child, path)


def _stack(name: str, layers: list[torch.nn.Module], listed: dict[str, Sequence[Any]]) -> Stack:
    kinds: list[object] = [
        (*_kind(layer, number), *(str(one[number]) for one in listed.values())) for number, layer in enumerate(layers)
    ]
    kept = [0] * bool(layers)
    for number, kind in enumerate(kinds):
        if number and sum(kinds[other] == kind for other in kept if other) < 2:
            kept.append(number)
    return Stack(name, layers, kept, kinds)


def _listed(owner: torch.nn.Module, length: int) -> dict[str, Sequence[Any]]:
    """Settings of the owner of a stack that have one value per layer, such as `layer_types`."""
    settings = vars(getattr(owner, "config", None) or owner)
    return {name: one for name, one in settings.items() if isinstance(one, (list, tuple)) and len(one) == length}


def _kind(layer: torch.nn.Module, number: int) -> tuple[object, ...]:
    """Equal for layers that compute the same function of their weights."""
    return tuple(
        (
            name,
            type(module),
            tuple((key, _setting(key, value, number)) for key, value in vars(module).items() if key[0] != "_"),
            tuple((key, _form(value)) for key, value in module._parameters.items()),
            tuple((key, _form(value)) for key, value in module._buffers.items()),
        )
        for name, module in layer.named_modules()
    )


def _setting(name: str, value: object, number: int) -> object:
    """What an attribute of a module tells of its kind; its own number does not."""
    import torch

    if _is_number(name, value, number):
        return ""
    if isinstance(value, torch.Tensor):
        return id(value)
    if isinstance(value, PLAIN):
        return str(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _is_number(name: str, value: object, number: int) -> bool:
    return type(value) is int and value == number and name.startswith(("layer", "block"))


def _form(value: torch.Tensor | None) -> object:
    return None if value is None else (tuple(value.shape), value.dtype)


def _shorten(owner: torch.nn.Module, name: str, stack: Stack, undo: contextlib.ExitStack) -> None:
    """Leave out layers of one stack, and adapt what the model consults about them."""
    modules = getattr(owner, name)._modules  # of the list itself, which a model may hold under two names
    _replace(modules, {str(at): stack.layers[number] for at, number in enumerate(stack.kept)}, undo)
    for at, number in enumerate(stack.kept):
        for module in stack.layers[number].modules():
            numbers = {key for key, value in vars(module).items() if _is_number(key, value, number)}
            _replace(vars(module), {**vars(module), **dict.fromkeys(numbers, at)}, undo)
    for settings in {id(one): one for one in (vars(owner), vars(getattr(owner, "config", owner)))}.values():
        changed = dict(settings)
        for key, value in settings.items():
            if type(value) is int and value == len(stack.layers) and "layer" in key:
                changed[key] = len(stack.kept)
            elif isinstance(value, (list, tuple)) and len(value) == len(stack.layers):
                changed[key] = type(value)(value[number] for number in stack.kept)
        _replace(settings, changed, undo)


def _replace(content: dict[str, Any], new: dict[str, Any], undo: contextlib.ExitStack) -> None:
    before = dict(content)

    def set_to(values: dict[str, Any]) -> None:
        content.clear()
        content.update(values)

    set_to(new)
    undo.callback(set_to, before)
