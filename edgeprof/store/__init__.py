"""What is on disk: content keys, atomic writes, artifact folders, and runs that survive a killed process.

files      read, write, name files
digests    sha256 of files, keys of requests
locks      one writer per folder
folders    folders that are complete or absent
artifacts  models/<name>/<precision>/
runs       reports/<run>/
table      measurements.csv
"""

from edgeprof.store.artifacts import (
    ARTIFACT_FILE,
    MODEL_FILE,
    MODELS,
    REFERENCE_FILE,
    WEIGHTS_FILE,
    artifact_folders,
    graph_file,
    load_artifact,
    record_beside,
    reference_beside,
    reference_file,
    save_artifact,
)
from edgeprof.store.digests import content_key, require_unchanged, sha256_of, sha256_of_all, state_of
from edgeprof.store.files import (
    cache_folder,
    read_bytes,
    read_text,
    reading,
    reading_arrays,
    require_name,
    require_regular,
    within,
    write_atomic,
    writing,
)
from edgeprof.store.folders import folder_in_progress, recover
from edgeprof.store.locks import sole_writer
from edgeprof.store.runs import (
    LAWS_FILE,
    MACHINE_FILE,
    MEASUREMENTS_FILE,
    REPORTS,
    Records,
    append_generation,
    append_kernel,
    append_measurement,
    append_operators,
    append_sustained,
    load_generations,
    load_kernels,
    load_machine,
    load_measurements,
    load_operators,
    load_records,
    load_sustained,
    open_run,
    run_folder,
    run_in_progress,
    run_names,
    save_laws,
)
from edgeprof.store.table import TABLE_FILE, save_table

__all__ = [
    "ARTIFACT_FILE",
    "LAWS_FILE",
    "MACHINE_FILE",
    "MEASUREMENTS_FILE",
    "MODELS",
    "MODEL_FILE",
    "REFERENCE_FILE",
    "REPORTS",
    "TABLE_FILE",
    "WEIGHTS_FILE",
    "Records",
    "append_generation",
    "append_kernel",
    "append_measurement",
    "append_operators",
    "append_sustained",
    "artifact_folders",
    "cache_folder",
    "content_key",
    "folder_in_progress",
    "graph_file",
    "load_artifact",
    "load_generations",
    "load_kernels",
    "load_machine",
    "load_measurements",
    "load_operators",
    "load_records",
    "load_sustained",
    "open_run",
    "read_bytes",
    "read_text",
    "reading",
    "reading_arrays",
    "record_beside",
    "recover",
    "reference_beside",
    "reference_file",
    "require_name",
    "require_regular",
    "require_unchanged",
    "run_folder",
    "run_in_progress",
    "run_names",
    "save_artifact",
    "save_laws",
    "save_table",
    "sha256_of",
    "sha256_of_all",
    "sole_writer",
    "state_of",
    "within",
    "write_atomic",
    "writing",
]
