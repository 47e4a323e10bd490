"""optimum-onnx's quantizer: dynamic int8 for a kind of CPU, as its documentation shows it. Runs where optimum-onnx is.

usage: peer_optimum.py avx2|avx512|avx512_vnni SOURCE_FOLDER TARGET_FOLDER [OPERATOR ...]
"""

import sys
from pathlib import Path

from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

cpu, source, target, *operators = sys.argv[1:]
quantizer = ORTQuantizer.from_pretrained(Path(source), file_name="model.onnx")
make = getattr(AutoQuantizationConfig, cpu)
config = make(is_static=False, per_channel=True, operators_to_quantize=operators or None)
quantizer.quantize(save_dir=target, quantization_config=config, file_suffix=None)
