"""What one would write by hand: onnxruntime's own quantizers, called directly on an ONNX file.

usage: peer_onnxruntime.py dynamic|dynamic-no-attention|matmul-nbits|matmul-nbits-as-int4 SOURCE TARGET
"""

import sys

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.registry import IntegerOpsRegistry

how, source, target = sys.argv[1:]
if how.startswith("matmul-nbits"):
    same = {"block_size": 32, "is_symmetric": True, "accuracy_level": 4} if how.endswith("int4") else {}
    quantizer = MatMulNBitsQuantizer(onnx.load(source), **same)
    quantizer.process()
    quantizer.model.save_model_to_file(target, use_external_data_format=True)
else:
    types = [name for name in IntegerOpsRegistry if name != "Attention"] if how == "dynamic-no-attention" else None
    quantize_dynamic(source, target, op_types_to_quantize=types, per_channel=True, weight_type=QuantType.QInt8)
