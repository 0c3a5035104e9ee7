"""Static int8: integers inside, uint8 straight into the first convolution, layers that stay float."""
# ruff: noqa: F401, F811 (fixtures are imported)

import numpy as np
import onnx
import onnxruntime
import torch
from conftest import to_int8
from exported_networks import (
    CARD,
    SIDE,
    answers,
    exported,
    float_model,
    net,
    pictures,
)
from onnx import numpy_helper

from stages.deployment import export, int8, onnx_model
from stages.models import factory


def test_uint8_goes_straight_into_the_first_convolution_and_changes_nothing(exported, monkeypatch, tmp_path):
    kinds = [node.op_type for node in onnx.load(exported / "int8.onnx").graph.node]
    assert not {"Cast", "Sub", "Div"} & set(kinds)
    monkeypatch.setattr(int8, "_bypass_normalisation", lambda graph: None)
    long_way = to_int8(float_model(), pictures(40), centred=True, per_channel=True)
    assert {"Cast", "Sub", "Div"} <= {node.op_type for node in long_way.graph.node}
    onnx_model.write(long_way, CARD, tmp_path / "long.onnx")
    ramp = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 16, 16, 3)  # every value there is
    for images in (pictures(32, seed=2), ramp):
        assert np.array_equal(onnx_model.open_model(exported / "int8.onnx", 1)(images),
                              onnx_model.open_model(tmp_path / "long.onnx", 1)(images))


def test_onnxruntime_computes_in_integers(exported, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised.onnx"), 3
    onnxruntime.InferenceSession(exported / "int8.onnx", options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 9 and kinds.count("QGemm") == 1 and "QLinearGlobalAveragePool" in kinds
    assert not {"Conv", "FusedConv", "Gemm", "QuantizeLinear", "DequantizeLinear", "ReduceMean"} & set(kinds)


def test_weights_are_int8_and_the_file_is_smaller(exported):
    weights = [numpy_helper.to_array(tensor) for tensor in onnx.load(exported / "int8.onnx").graph.initializer]
    matrices = [weight for weight in weights if weight.ndim > 1]
    assert len(matrices) == 10 and all(weight.dtype == np.int8 for weight in matrices)
    assert (exported / "int8.onnx").stat().st_size < 0.6 * (exported / "float.onnx").stat().st_size


def test_other_normalisations_keep_their_steps(exported, tmp_path):
    trained = net()
    trained.mean, trained.std = (torch.tensor(values) for values in factory.IMAGENET)
    model = export.to_onnx(trained, SIDE)
    onnx_model.write(to_int8(model, pictures(40), centred=False, per_channel=False), CARD, tmp_path / "int8.onnx")
    expected = trained(torch.from_numpy(pictures(8)).permute(0, 3, 1, 2)).numpy()
    error = np.abs(onnx_model.open_model(tmp_path / "int8.onnx", 1)(pictures(8)) - expected)
    assert error.max() < 0.15 * np.abs(expected).max()


def test_a_first_layer_in_float_keeps_its_normalisation():
    model = float_model()
    with int8.calibrated(model, pictures(40), True) as ready:
        small = ready.quantised(True, ready.layers()[:1])
    assert {"Cast", "Sub", "Div"} <= {node.op_type for node in small.graph.node}
    expected = answers(model, pictures(8, seed=1))
    assert np.abs(answers(small, pictures(8, seed=1)) - expected).max() < 0.1 * np.abs(expected).max()
