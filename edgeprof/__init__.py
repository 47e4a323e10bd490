"""edgeprof: what a transformer costs on a device, at a token length, in a precision, and why.

    from edgeprof import explain, export, quantize, profile, load_run, write_report

Names are loaded when first used, so importing the package costs nothing; `edgeprof.api` documents them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeprof.api import (
        Export,
        Run,
        check_claims,
        choose_buckets,
        devices,
        draw_explanation,
        explain,
        export,
        load_run,
        profile,
        quantize,
        verify,
        why,
        write_report,
    )
    from edgeprof.errors import EdgeprofError

__all__ = [
    "EdgeprofError",
    "Export",
    "Run",
    "check_claims",
    "choose_buckets",
    "devices",
    "draw_explanation",
    "explain",
    "export",
    "load_run",
    "profile",
    "quantize",
    "verify",
    "why",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "EdgeprofError":
        from edgeprof.errors import EdgeprofError

        return EdgeprofError
    if name in __all__:
        from edgeprof import api

        return getattr(api, name)
    raise AttributeError(f"module 'edgeprof' has no attribute '{name}'")
