"""What a graph takes: what each input means, how large it is in a run, and what values it gets.

roles     what an input and its axes mean: by its name, and by what the graph does with it
sizes     a size for every axis, from what is asked, what the file fixes, and what goes together
fills     which values an input gets where nobody gives it any
files     values from .npy, .npz and .pb files
tensors   the arrays themselves (also in the measuring child: imports numpy alone)
"""

from edgeprof.inputs.fills import fill
from edgeprof.inputs.roles import Axis, Input, Signature, signature
from edgeprof.inputs.sizes import LoadRequest, Sizes, resolve

__all__ = ["Axis", "Input", "LoadRequest", "Signature", "Sizes", "fill", "resolve", "signature"]
