"""A trained network as an ONNX graph. In: a `factory.Normalised`. Out: an onnx.ModelProto, images in, logits out."""

import contextlib
import copy
import io
import logging

import torch
from onnx import ModelProto, helper, numpy_helper
from torch import nn

from stages.core.errors import UserError, one_line
from stages.deployment import onnx_model, opset


class Deployed(nn.Module):
    """The network as a device calls it: uint8 images (N,H,W,3)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image):
        # Without contiguous() the strides of the permuted images remain, and pooling is exported as index lookups.
        return self.network(image.permute(0, 3, 1, 2).contiguous())


def to_onnx(network: nn.Module, size: tuple[int, int]) -> ModelProto:
    """The graph of `network` for images of size (H, W), batch dimension free.

    Raises UserError for what the exporter can't express.
    """
    # Channels-last weights have the same effect on strides. A copy, so that the caller's network keeps its layout.
    network = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    # Two images or more: the exporter would take a batch of one for a constant.
    example = torch.zeros(2, *size, 3, dtype=torch.uint8)
    logging.disable(logging.WARNING)  # where it fails, the exporter logs and prints pages of graphs
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            model = torch.onnx.export(
                Deployed(network).eval(), (example,), dynamo=True, external_data=False, verbose=False,
                opset_version=18,  # the oldest that it writes by itself
                input_names=[onnx_model.IMAGE], output_names=[onnx_model.LOGITS],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)).model_proto
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"{type(network.net).__name__} can't be exported to ONNX ({one_line(error)[:200]}); "
                        "choose another model in params.yaml") from None
    finally:
        logging.disable(logging.NOTSET)
    _use_global_average_pool(model)
    _use_plain_reshape(model)
    return opset.lowest(model)


def _use_global_average_pool(model: ModelProto) -> None:
    """Mean over H and W → GlobalAveragePool, the same numbers: onnxruntime has an int8 kernel for that one alone."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and len(node.input) == 2 and node.input[1] in constants:
            axes = sorted(numpy_helper.to_array(constants[node.input[1]]).tolist())
            keeps_dims = all(helper.get_attribute_value(attribute) == 1 for attribute in node.attribute
                             if attribute.name == "keepdims")
            if axes in ([2, 3], [-2, -1]) and keeps_dims:
                node.op_type = "GlobalAveragePool"
                del node.input[1:], node.attribute[:]
    onnx_model.drop_unused(model.graph)


def _use_plain_reshape(model: ModelProto) -> None:
    """Drop `allowzero`, which means nothing for a shape without a 0: onnxruntime before 1.12 fails on it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants and numpy_helper.to_array(
                constants[node.input[1]]).all():
            del node.attribute[:]
