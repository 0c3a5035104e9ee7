"""A trained network as an ONNX graph. In: a `network.Normalised`. Out: an onnx.ModelProto, images in, logits out."""

import contextlib
import copy
import io
import logging
import warnings

import numpy as np
import torch
from onnx import ModelProto, helper, numpy_helper
from torch import nn

from stages.core.errors import UserError, one_line
from stages.deployment import onnx_model


class Deployed(nn.Module):
    """The network as a device calls it: images as they lie in memory."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image):
        # Without contiguous() the strides of the permuted images live on, and pooling exports as a table of addresses.
        return self.network(image.permute(0, 3, 1, 2).contiguous())


def to_onnx(network: nn.Module, image_size: int) -> ModelProto:
    """The graph of `network`, batch dimension free. Raises UserError for what the exporter can't express."""
    # Channels-last weights have the same effect on strides; a copy, since the caller's layout is the caller's.
    plain = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    # Of two or more: an example batch of one would be taken for a constant.
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    with _quiet():
        try:
            program = torch.onnx.export(
                Deployed(plain).eval(), (example,), dynamo=True, external_data=False, verbose=False,
                input_names=[onnx_model.IMAGE], output_names=[onnx_model.LOGITS],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        except torch.onnx.OnnxExporterError as error:
            raise UserError(f"{type(network.net).__name__} can't be exported to ONNX ({one_line(error)[:200]}); "
                        "choose another model in params.yaml") from None
    model = program.model_proto
    _pool(model)
    return model


def _pool(model: ModelProto) -> None:
    """Mean over H and W → GlobalAveragePool, the same numbers: onnxruntime has an int8 kernel for that one alone."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = np.sort(numpy_helper.to_array(constants[node.input[1]])).tolist()
        keeps = all(helper.get_attribute_value(found) == 1 for found in node.attribute if found.name == "keepdims")
        if axes in ([2, 3], [-2, -1]) and keeps:
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    onnx_model.drop_unused(model.graph)


@contextlib.contextmanager
def _quiet():
    """The exporter talks to stdout, to warnings and to the log; nothing of it helps a user."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
