"""The oldest form of a graph, for old runtimes. In: an onnx.ModelProto. Out: the same graph, that computes the same.

They refuse a file of a newer IR version or operator set than they know, whether the graph uses anything new or not.
"""

import onnxruntime
from onnx import ModelProto, checker, helper, shape_inference, version_converter

OLDEST = 14  # of the operator sets: onnx's converter takes back no Sub to an older one
# The oldest onnxruntime that each was seen to load in, with the IR version that belongs to it.
RUNTIMES = {14: "1.8", 15: "1.10", 16: "1.12", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18", 22: "1.22"}
# The converter raises RuntimeError for an operator that it can't take back, the checker the others for what it made.
IMPOSSIBLE = (RuntimeError, checker.ValidationError, shape_inference.InferenceError, version_converter.ConvertError)


def lowest(model: ModelProto) -> ModelProto:
    """The model in the lowest operator set and IR version that can express it, importing no domain that it doesn't use.

    What can't be taken back stays as it is. Constants, and the names of nodes and values, are kept.
    """
    converted = (_converted(model, version) for version in range(OLDEST, operator_set(model)))
    model = next(filter(None, converted), model)
    used = {"", *(node.domain for node in model.graph.node)}
    imports = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)
    model.ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
    return model


def operator_set(model: ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain == "")


def oldest_runtime(model: ModelProto) -> str:
    """The oldest onnxruntime that loads the model, as "1.8"; the one in use where none older is known to."""
    return RUNTIMES.get(operator_set(model), onnxruntime.__version__)


def _converted(model: ModelProto, version: int) -> ModelProto | None:
    """The model in this operator set; None where it has operators or attributes that this one lacks."""
    try:
        converted = version_converter.convert_version(model, version)
        checker.check_model(converted, full_check=True)
    except IMPOSSIBLE:
        return None
    return converted
