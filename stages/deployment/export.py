"""A trained network as an ONNX graph. In: a `factory.Normalised`. Out: an onnx.ModelProto, images in, logits out."""

import contextlib
import copy
import io
import logging
from collections.abc import Hashable
from itertools import chain
from typing import NamedTuple

import onnx_ir
import torch
from onnx import ModelProto, helper, numpy_helper
from onnxscript import optimizer
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
    return Exporter(size)(network)


class Exporter:
    """As `to_onnx`, of many networks: those of one kind are traced once, which takes twenty times as long as all else.
    """

    def __init__(self, size: tuple[int, int]):
        self.size, self.traced = size, {}

    def __call__(self, network: nn.Module, kind: Hashable = None) -> ModelProto:
        """kind: what networks share that differ in their weights alone."""
        # Channels-last weights have the same effect on strides. A copy, so that the caller's network keeps its layout.
        network = Deployed(copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)).eval()
        if kind not in self.traced:
            self.traced[kind] = _trace(network, self.size)
        model = self.traced[kind].filled(network)
        _use_global_average_pool(model)
        _use_plain_reshape(model)
        return opset.lowest(model)


class Traced(NamedTuple):
    """A network's graph before its BatchNorm is folded into the convolutions, which hides the weights in it."""

    graph: onnx_ir.Model
    folded: ModelProto  # without weights: its names, some of which count from where tracing left off, are those to keep

    def filled(self, network: Deployed) -> ModelProto:
        """With this network's weights, folded: what tracing it would give, to the byte."""
        model = self.graph.clone()
        state = dict(chain(network.named_parameters(remove_duplicate=False),
                           network.named_buffers(remove_duplicate=False)))
        for name, weights in model.graph.initializers.items():
            weights.const_value = onnx_ir.tensor(state[name].detach().numpy(), name=name)
        optimizer.optimize_ir(model)
        folded = copy.deepcopy(self.folded)
        for tensor, weights in zip(folded.graph.initializer, onnx_ir.to_proto(model).graph.initializer, strict=True):
            tensor.raw_data = weights.raw_data
        return folded


def _trace(network: Deployed, size: tuple[int, int]) -> Traced:
    # Two images or more: the exporter would take a batch of one for a constant.
    example = torch.zeros(2, *size, 3, dtype=torch.uint8)
    logging.disable(logging.WARNING)  # where it fails, the exporter logs and prints pages of graphs
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            program = torch.onnx.export(
                network, (example,), dynamo=True, external_data=False, verbose=False, optimize=False,
                opset_version=18,  # the oldest that it writes by itself
                input_names=[onnx_model.IMAGE], output_names=[onnx_model.LOGITS],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"{type(network.network.net).__name__} can't be exported to ONNX ({one_line(error)[:200]}); "
                        "choose another model in params.yaml") from None
    finally:
        logging.disable(logging.NOTSET)
    graph = program.model.clone()
    optimizer.optimize_ir(program.model)
    folded = onnx_ir.to_proto(program.model)
    for tensor in folded.graph.initializer:
        tensor.ClearField("raw_data")
    return Traced(graph, folded)


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
