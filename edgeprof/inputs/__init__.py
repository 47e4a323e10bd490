"""The inputs of a graph: their meaning, sizes and values in a run.

roles     the meaning of inputs and axes: by name, and by use in the graph
sizes     a size for every axis, from the request, the file, and shared symbols
fills     values for inputs that have none
files     values from .npy, .npz and .pb files
tensors   the arrays (also in the measuring process: imports numpy alone)
run_inputs  all of it for one run of a model
"""

from edgeprof.inputs.fills import fill
from edgeprof.inputs.roles import Axis, Input, Meaning, Signature, signature
from edgeprof.inputs.sizes import LoadRequest, Sizes, resolve

__all__ = ["Axis", "Input", "LoadRequest", "Meaning", "Signature", "Sizes", "fill", "resolve", "signature"]
