"""The execution providers edgeprof knows: one row each."""

from typing import Literal

from edgeprof.errors import UnknownName
from edgeprof.schema import Record

Kind = Literal["CPU", "GPU", "NPU"]


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
