"""Ten digits as people draw them with a pen, and a network that knows digits without being trained."""

from functools import cache
from math import cos, radians, sin

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from stages.data import builtin


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> list[tuple[float, float]]:
    """Part of an ellipse, by angles in degrees: 0 to the right, 90 down."""
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + wide * float(np.cos(angle)), y + high * float(np.sin(angle))) for angle in angles]


# Strokes, each [(x, y), …], on a pad of 100 × 100. The 7 has no bar, the 1 no foot.
DIGITS = [
    [arc(50, 50, 26, 40, -90, 270)],
    [[(36, 28), (54, 10), (54, 90)]],
    [[*arc(50, 32, 24, 22, 180, 375), (26, 90), (76, 90)]],
    [[*arc(46, 30, 24, 20, 200, 450), *arc(46, 70, 26, 20, -90, 160)]],
    [[(60, 90), (60, 10), (24, 64), (78, 64)]],
    [[(72, 10), (34, 10), (30, 46), *arc(48, 66, 26, 24, 230, 500)]],
    [[(64, 10), (52, 20), (42, 34), (34, 50), (29, 64), *arc(50, 68, 21, 21, 190, 550)]],
    [[(24, 10), (76, 10), (42, 90)]],
    [[*arc(50, 30, 19, 20, 90, 450), *arc(50, 70, 23, 20, -90, 270)]],
    [[*arc(50, 34, 22, 24, 0, 360), (70, 60), (62, 90)]],
]


def picture(strokes: list[list[tuple[float, float]]], width: float, ink: int, ground: int, side: int = 200,
            size: float = 0.8, shift: tuple[float, float] = (0, 0), turn: float = 0) -> np.ndarray:
    """uint8 (side,side): drawn with a round pen of a width in pixels, at a size, place and angle (degrees)."""
    fine = 4 * side
    image = Image.new("L", (fine, fine), ground)
    draw, pen = ImageDraw.Draw(image), 4 * width / 2
    for stroke in strokes:
        turned = [((x - 50) * cos(radians(turn)) - (y - 50) * sin(radians(turn)),
                   (x - 50) * sin(radians(turn)) + (y - 50) * cos(radians(turn))) for x, y in stroke]
        points = [(fine * (0.5 + size * x / 100) + 4 * shift[0], fine * (0.5 + size * y / 100) + 4 * shift[1])
                  for x, y in turned]
        draw.line(points, ink, round(2 * pen))
        for x, y in points:
            draw.ellipse((x - pen, y - pen, x + pen, y + pen), ink)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


@cache
def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` of each class of the built-in set: uint8 (N,32,32) and labels (N,), sorted by class."""
    source, labels = builtin._source()
    chosen = np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)])
    images = [np.asarray(Image.fromarray(one).resize((builtin.SIDE,) * 2, Image.Resampling.BICUBIC))
              for one in source[chosen]]
    return np.stack(images), labels[chosen]


def nearest_network(count: int, tiles: int = 8) -> onnx.ModelProto:
    """Its logits rise with the likeness to the most similar one of `count` known digits of each class."""
    side = builtin.SIDE // tiles
    known = digits(count)[0].reshape(-1, tiles, side, tiles, side).mean((2, 4)).reshape(-1, tiles * tiles) / 255
    sharp = 4.0  # 2xp − p² differs from −(x − p)² by the same x² for all
    weights = {"w": (2 * sharp * known.T).astype(np.float32), "b": (-sharp * (known**2).sum(1)).astype(np.float32),
               "white": np.float32(255)}
    shapes = {"tiled": [-1, tiles, side, tiles, side, 3], "flat": [-1, tiles * tiles], "classes": [-1, 10, count]}
    steps = [("Cast", ["image"], {"to": TensorProto.FLOAT}), ("Div", ["1", "white"], {}),
             ("Reshape", ["2", "tiled"], {}), ("ReduceMean", ["3"], {"axes": [2, 4, 5], "keepdims": 0}),
             ("Reshape", ["4", "flat"], {}), ("Gemm", ["5", "w", "b"], {}), ("Reshape", ["6", "classes"], {}),
             ("ReduceMax", ["7"], {"axes": [2], "keepdims": 0})]
    nodes = [helper.make_node(kind, names, [str(at) if at < len(steps) else "logits"], **options)
             for at, (kind, names, options) in enumerate(steps, 1)]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    constants += [numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()]
    graph = helper.make_graph(
        nodes, "nearest", [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
