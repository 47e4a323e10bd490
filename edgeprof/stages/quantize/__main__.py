"""The process that quantizes."""

from edgeprof import process
from edgeprof.stages.quantize.stage import QuantizeRequest, run

if __name__ == "__main__":
    process.serve(run, QuantizeRequest)
