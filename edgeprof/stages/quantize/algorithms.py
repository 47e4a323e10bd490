"""What recipes do to a model: a function for each algorithm of the table of recipes."""

from collections.abc import Callable, Mapping

from edgeprof.process import Progress
from edgeprof.recipe_table import Algorithm
from edgeprof.stages.quantize import dynamic, floats, static, weight_only
from edgeprof.stages.quantize.job import QuantizationJob

ALGORITHMS: Mapping[Algorithm, Callable[[QuantizationJob, Progress], None]] = {
    "float16": floats.fp16,
    "bfloat16": floats.bf16,
    "dynamic": dynamic.int8,
    "static": static.matmuls,
    "qdq": static.everything,
    "nearest": weight_only.nearest,
    "hqq": weight_only.hqq,
    "gptq": weight_only.gptq,
}
"""Each changes the model of a job in place."""
