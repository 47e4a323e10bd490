"""The execution providers edgeprof knows: one row each."""

from edgeprof.errors import UnknownName
from edgeprof.schema import Kind, Record, Target


class Provider(Record, frozen=True, kw_only=True):
    name: str  # what --ep takes
    runtime_name: str  # onnxruntime's
    kind: Kind
    install: str  # the command that brings it
    docs: str


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        name="cpu",
        runtime_name="CPUExecutionProvider",
        kind="CPU",
        install="pip install onnxruntime",
        docs="https://onnxruntime.ai/docs/execution-providers/",
    ),
)


def find(name: str) -> Provider:
    """The row of that name.

    Raises:
        UnknownName: there is none; the message offers the nearest names.
    """
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    raise UnknownName("execution provider", name, [provider.name for provider in PROVIDERS])


def target(name: str) -> Target:
    """How a child opens the provider of that name, with its default options."""
    row = find(name)
    return Target(provider=row.name, runtime_name=row.runtime_name, kind=row.kind)
