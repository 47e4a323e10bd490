"""Options that execution providers document, and the values they accept.

Providers silently ignore an option that they do not know and a value that makes no sense. Names and values are those
of the documentation that the table's rows link to, and of the option headers it refers to.
"""

NUMBER, PATH, TEXT, JSON = ("<number>",), ("<path>",), ("<text>",), ("<json>",)
"""A kind of value instead of a list."""

FLAG = ("0", "1")
BOOLEAN = ("0", "1", "true", "false", "True", "False")

Known = dict[str, tuple[str, ...]]

_CUDA_ARENA: Known = {
    "device_id": NUMBER,
    "arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "do_copy_in_default_stream": BOOLEAN,
}

XNNPACK: Known = {"intra_op_num_threads": NUMBER}

_BUFFER_CACHE = ("disabled", "lazyRelease", "simple", "bucket")
WEBGPU: Known = {
    "preferredLayout": ("NCHW", "NHWC"),
    "enableGraphCapture": FLAG,
    "enableInt64": FLAG,
    "enablePIXCapture": FLAG,
    "enableRobustness": FLAG,
    "preserveDevice": FLAG,
    "dawnBackendType": ("D3D12", "Vulkan"),
    "powerPreference": ("high-performance", "low-power"),
    "validationMode": ("disabled", "wgpuOnly", "basic", "full"),
    "storageBufferCacheMode": _BUFFER_CACHE,
    "uniformBufferCacheMode": _BUFFER_CACHE,
    "queryResolveBufferCacheMode": _BUFFER_CACHE,
    "defaultBufferCacheMode": _BUFFER_CACHE,
    "kvCacheQuantizationBits": ("0", "4", "8"),
    "deviceId": NUMBER,
    "maxNumPendingDispatches": NUMBER,
    "maxStorageBufferBindingSize": NUMBER,
    "sessionBufferPoolGenerations": NUMBER,
    "multiRotaryCacheConcatOffset": NUMBER,
    "forceCpuNodeNames": TEXT,
}

CUDA: Known = {
    **_CUDA_ARENA,
    "gpu_mem_limit": NUMBER,
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "cudnn_conv_use_max_workspace": FLAG,
    "cudnn_conv1d_pad_to_nc1d": FLAG,
    "enable_cuda_graph": FLAG,
    "enable_skip_layer_norm_strict_mode": FLAG,
    "fuse_conv_bias": FLAG,
    "prefer_nhwc": FLAG,
    "sdpa_kernel": NUMBER,
    "tunable_op_enable": FLAG,
    "tunable_op_tuning_enable": FLAG,
    "tunable_op_max_tuning_duration_ms": NUMBER,
    "use_ep_level_unified_stream": FLAG,
    "use_tf32": FLAG,
}

TENSORRT: Known = {
    "device_id": NUMBER,
    "trt_max_workspace_size": NUMBER,
    "trt_max_partition_iterations": NUMBER,
    "trt_min_subgraph_size": NUMBER,
    "trt_fp16_enable": BOOLEAN,
    "trt_int8_enable": BOOLEAN,
    "trt_int8_calibration_table_name": TEXT,
    "trt_int8_use_native_calibration_table": BOOLEAN,
    "trt_dla_enable": BOOLEAN,
    "trt_dla_core": NUMBER,
    "trt_engine_cache_enable": BOOLEAN,
    "trt_engine_cache_path": PATH,
    "trt_dump_subgraphs": BOOLEAN,
    "trt_force_sequential_engine_build": BOOLEAN,
    "trt_context_memory_sharing_enable": BOOLEAN,
    "trt_layer_norm_fp32_fallback": BOOLEAN,
    "trt_timing_cache_enable": BOOLEAN,
    "trt_force_timing_cache": BOOLEAN,
    "trt_detailed_build_log": BOOLEAN,
    "trt_build_heuristics_enable": BOOLEAN,
    "trt_sparsity_enable": BOOLEAN,
    "trt_builder_optimization_level": ("0", "1", "2", "3", "4", "5"),
    "trt_auxiliary_streams": NUMBER,
    "trt_tactic_sources": TEXT,
    "trt_extra_plugin_lib_paths": PATH,
    "trt_profile_min_shapes": TEXT,
    "trt_profile_max_shapes": TEXT,
    "trt_profile_opt_shapes": TEXT,
}

TENSORRT_RTX: Known = {
    "device_id": NUMBER,
    "enable_cuda_graph": BOOLEAN,
    "nv_max_workspace_size": NUMBER,
    "nv_max_shared_mem_size": NUMBER,
    "nv_dump_subgraphs": BOOLEAN,
    "nv_detailed_build_log": BOOLEAN,
    "nv_profile_min_shapes": TEXT,
    "nv_profile_max_shapes": TEXT,
    "nv_profile_opt_shapes": TEXT,
    "nv_multi_profile_enable": BOOLEAN,
    "nv_use_external_data_initializer": BOOLEAN,
    "nv_runtime_cache_path": PATH,
    "nv_weight_streaming_budget": NUMBER,
    "nv_op_types_to_exclude": TEXT,
    "nv_enable_profiling": BOOLEAN,
    "nv_profiling_output_file": PATH,
}

OPENVINO: Known = {
    "device_type": TEXT,
    "load_config": JSON,
    "precision": ("FP32", "FP16", "ACCURACY"),
    "num_of_threads": NUMBER,
    "num_streams": NUMBER,
    "cache_dir": PATH,
    "enable_qdq_optimizer": BOOLEAN,
    "disable_dynamic_shapes": BOOLEAN,
    "model_priority": ("HIGH", "MEDIUM", "LOW", "DEFAULT"),
    "reshape_input": TEXT,
    "layout": TEXT,
}

QNN: Known = {
    "backend_type": ("cpu", "gpu", "htp", "saver", "ir"),
    "backend_path": PATH,
    "soc_model": NUMBER,
    "htp_arch": NUMBER,
    "device_id": NUMBER,
    "vtcm_mb": NUMBER,
    "rpc_control_latency": NUMBER,
    "htp_performance_mode": (
        *("burst", "balanced", "default", "high_performance", "high_power_saver", "low_balanced", "low_power_saver"),
        *("power_saver", "extreme_power_saver", "sustained_high_performance"),
    ),
    "htp_graph_finalization_optimization_mode": ("0", "1", "2", "3"),
    "enable_htp_fp16_precision": FLAG,
    "enable_htp_spill_fill_buffer": FLAG,
    "enable_htp_shared_memory_allocator": FLAG,
    "enable_dx12_shared_memory_allocator": FLAG,
    "enable_vtcm_backup_buffer_sharing": FLAG,
    "enable_block_quant_weight_optimization": FLAG,
    "enable_htp_prepare_only": FLAG,
    "htp_bf16_enable": FLAG,
    "htp_share_resource_optimization": ("1",),
    "offload_graph_io_quantization": FLAG,
    "disable_file_mapped_weights": FLAG,
    "extended_udma": FLAG,
    "qnn_context_priority": ("low", "normal", "normal_high", "high"),
    "skip_qnn_version_check": FLAG,
    "num_graph_prepare_threads": NUMBER,
    "op_packages": TEXT,
    "profiling_level": ("off", "basic", "detailed", "optrace"),
    "profiling_file_path": PATH,
    "enable_framework_op_trace": FLAG,
    "framework_op_trace_dir": PATH,
    "qnn_saver_path": PATH,
    "qnn_ir_backend_path": PATH,
    "dump_json_qnn_graph": FLAG,
    "json_qnn_graph_dir": PATH,
    "dump_qnn_ir_dlc": FLAG,
    "dump_qnn_ir_dlc_dir": PATH,
}

COREML: Known = {
    "ModelFormat": ("MLProgram", "NeuralNetwork"),
    "MLComputeUnits": ("ALL", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"),
    "RequireStaticInputShapes": FLAG,
    "EnableOnSubgraphs": FLAG,
    "SpecializationStrategy": ("Default", "FastPrediction"),
    "ProfileComputePlan": FLAG,
    "AllowLowPrecisionAccumulationOnGPU": FLAG,
    "ModelCacheDirectory": PATH,
}

DIRECTML: Known = {
    "device_id": NUMBER,
    "device_filter": ("gpu", "npu", "any"),
    "performance_preference": ("default", "high_performance", "minimum_power"),
    "disable_metacommands": BOOLEAN,
    "enable_graph_capture": BOOLEAN,
    "enable_graph_serialization": BOOLEAN,
}

MIGRAPHX: Known = {
    "device_id": NUMBER,
    "migraphx_fp16_enable": BOOLEAN,
    "migraphx_bf16_enable": BOOLEAN,
    "migraphx_fp8_enable": BOOLEAN,
    "migraphx_int8_enable": BOOLEAN,
    "migraphx_int8_calibration_table_name": PATH,
    "migraphx_int8_use_native_calibration_table": BOOLEAN,
    "migraphx_exhaustive_tune": BOOLEAN,
    "migraphx_mem_limit": NUMBER,
    "migraphx_arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "migraphx_model_cache_dir": PATH,
    "migraphx_max_dynamic_batch": NUMBER,
    "migraphx_max_compiled_models": NUMBER,
}

VITISAI: Known = {
    "config_file": PATH,
    "xclbin": PATH,
    "target": ("X1", "X2"),
    "cache_dir": PATH,
    "cache_key": TEXT,
    "log_level": ("info", "warning", "error", "fatal"),
}

CANN: Known = {
    **_CUDA_ARENA,
    "npu_mem_limit": NUMBER,
    "enable_cann_graph": BOOLEAN,
    "enable_cann_subgraph": BOOLEAN,
    "dump_graphs": BOOLEAN,
    "dump_om_model": BOOLEAN,
    "precision_mode_v2": TEXT,
    "op_select_impl_mode": TEXT,
    "optypelist_for_implmode": TEXT,
    "input_format": TEXT,
    "dynamic_batch_size": TEXT,
    "dynamic_image_size": TEXT,
    "dynamic_dims": TEXT,
}

GGML: Known = {"device": ("auto", "gpu", "cpu"), "threads": NUMBER, "partial": FLAG, "dump": FLAG}
