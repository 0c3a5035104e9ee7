"""Self-describing ONNX files: uint8 images in, logits out, and a card in their metadata that says what they are.

Running one imports neither torch nor onnx nor pydantic: stages/deployment/latency.py measures a process that does this.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from stages.core.errors import UserError, one_line
from stages.core.files import atomic_write
from stages.deployment.runtime import session

FOLDER = Path("models")
# The models that are compared, as they are deployed, in the order of every table: the teacher, made small as the
# student is, is what one would ship without distilling.
DEPLOYED = {"teacher": FOLDER / "teacher.onnx", "baseline": FOLDER / "baseline.onnx",
            "student": FOLDER / "student.onnx", "int8": FOLDER / "student.int8.onnx",
            "teacher_int8": FOLDER / "teacher.int8.onnx"}
SMALL = ("int8", "teacher_int8")  # of them, those that are made of another one
SEEDS = FOLDER / "seeds"  # <baseline|student|int8>-<seed>.onnx
IMAGE, LOGITS = "image", "logits"  # uint8 (N,H,W,3), RGB → float32 (N,C,*S)


@dataclass(frozen=True)
class Card:
    """What a user of the file has to know. Stored in its `metadata_props`: strings as they are, the rest as JSON."""

    classes: tuple[str, ...]  # a name for each logit
    image_size: int  # height and width that the model was trained at
    resize: str  # how images were brought there: squash | crop | tiles, as data/tiling.py has it
    scale: float  # tiles: share of its size that a picture is brought to first
    overlap: int  # tiles: pixels that neighbouring squares share at least
    task: str
    mean: tuple[float, ...]  # of each channel, 0–255 scale; applied inside the graph
    std: tuple[float, ...]
    model: str  # a module of stages/models/zoo
    role: str  # teacher | baseline | student
    form: str  # float | int8 | int8 weights | fp16 weights: how weights are stored and computed with
    colours: tuple[tuple[int, ...], ...]  # (red, green, blue) of each class, to draw masks with; empty for other tasks
    weights_sha256: str  # of the .safetensors file that it was made from
    settings_sha256: str  # of the sections of params.yaml it was made by, and of the layers left in float

    def centred(self) -> bool:
        """Whether quantising (image − mean) / std at scale 1/64 and zero point 128 gives the uint8 image itself."""
        return set(self.mean) == {128.0} and set(self.std) == {64.0}


@dataclass(frozen=True)
class Model:
    """A file opened in onnxruntime on the CPU."""

    session: object
    card: Card

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) → float32 logits (N,C,*S)."""
        return run(self.session, images)


def open_model(path: Path, threads: int) -> Model:
    """A file's model, to run on `threads` threads. Raises UserError where it is missing, broken, or has no card."""
    if not path.is_file():
        raise UserError(f"{path} is missing; run dvc repro to make it")
    try:
        opened = session(path, threads)
    except Exception as error:  # onnxruntime's own classes share no base but this one
        raise UserError(f"{path} is no readable ONNX model ({one_line(error)}); delete it and run dvc repro") from None
    return Model(opened, _card(opened.get_modelmeta().custom_metadata_map, path))


def run(session, images: np.ndarray) -> np.ndarray:
    """uint8 (N,H,W,3) → float32 logits (N,C,*S)."""
    return session.run([LOGITS], {IMAGE: images})[0]


def write(model, card: Card, path: Path) -> None:
    """Write an onnx.ModelProto with its card, without what the exporter notes about the machine it ran on.

    The same network gives the same bytes in every folder and process.
    """
    strip(model)
    for name, value in sorted((vars(card) | facts(model)).items()):
        model.metadata_props.add(key=name, value=as_text(value))
    with atomic_write(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))


def as_text(value: object) -> str:
    """As metadata have it: strings as they are, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def facts(model) -> dict[str, object]:
    """What the metadata of an onnx.ModelProto say besides its card, told from its graph.

    oldest_onnxruntime: that loads it. saturates: whether int8 sums may, on x86 with AVX2 and without VNNI.
    """
    from stages.deployment import opset, overflow

    return {"oldest_onnxruntime": opset.oldest_runtime(model),
            "saturates": overflow.largest_pair(model) > overflow.MOST}


def strip(message) -> None:
    """Clear docstrings, metadata (the exporter's holds stack traces with paths), inferred shapes and the producer."""
    for name in ("doc_string", "metadata_props", "value_info", "producer_name", "producer_version"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.name != "TypeProto":
            for part in value if hasattr(value, "__len__") else [value]:
                strip(part)


def drop_unused(graph) -> None:
    """Remove the constants of an onnx.GraphProto that no node reads any more."""
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _card(metadata: dict[str, str], path: Path) -> Card:
    try:
        return Card(**{field.name: metadata[field.name] if field.type is str
                       else _immutable(json.loads(metadata[field.name])) for field in fields(Card)})
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} doesn't describe itself ({one_line(error)}), so it wasn't made here; "
                        "delete it and run dvc repro") from None


def _immutable(value):
    """JSON's lists as tuples."""
    return tuple(map(_immutable, value)) if isinstance(value, list) else value
