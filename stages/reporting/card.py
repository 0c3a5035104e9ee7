"""The model card: front matter for a model hub, limits, the source of each number, hashes, versions. In: params.yaml,
metrics as mappings. Out: YAML, sentences, rows of tables, none of which depends on the day or the commit.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence

import yaml

from stages.reporting.numbers import cell, flattened
from stages.reporting.results import images

PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}  # as the hub names them
# Those of quality.json that the hub knows, with its names.
METRICS = {"accuracy": "accuracy", "miou": "mean_iou", "precision": "precision", "recall": "recall", "f1": "f1",
           "mcc": "matthews_correlation", "brier": "brier_score"}
NO_PERCENT = ("mcc", "brier")
# Packages on whose versions the results depend.
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "scipy", "onnx", "onnxscript", "onnxruntime",
            "ImageHash", "cleanvision", "cleanlab", "dvc")
# What is measured, its file below metrics/, its key, and the command that makes it; {primary}: the primary metric.
SOURCES = (
    ("scores of the models", "quality.json", "{model}.{primary}", "dvc repro evaluate"),
    ("their standard deviation over seeds", "quality.json", "student.{primary}_std", "dvc repro evaluate"),
    ("scores of the deployed files", "quality.json", "{model}.deployed", "dvc repro evaluate"),
    ("all scores of the small student's file", "quality.json", "shipped.{primary}", "dvc repro evaluate"),
    ("gain of distillation", "quality.json", "distillation.gain", "dvc repro evaluate"),
    ("gap recovered", "quality.json", "distillation.gap_recovered", "dvc repro evaluate"),
    ("p-value of the deployed pair", "quality.json", "distillation.p_value", "dvc repro evaluate"),
    ("drop of the small student on test", "quality.json", "distillation.int8_drop", "dvc repro evaluate"),
    ("its drop on val", "quantisation.json", "val.drop", "dvc repro quantize"),
    ("parameters and sizes", "size.json", "{model}.size_mb", "dvc repro quantize"),
    ("latency, images/s, memory", "speed.json", "{model}.latency_ms", "dvc repro benchmark"),
    ("images found, kept, dropped; findings", "data.json", "images.found", "dvc repro clean"),
    ("times of training", "timing/distill.json", "seconds", "dvc repro distill"),
)


def front_matter(settings: Mapping, quality: Mapping, form: str) -> str:
    """YAML that a model hub reads at the head of a card; the results are those of the deployed file.

    form: its number format, as metrics/quantisation.json has it.
    """
    task, name, report = settings["data"]["task"], settings["data"]["name"], settings["report"]
    kind = PIPELINES.get(task, "other")
    scored = {metric: hub for metric, hub in METRICS.items() if metric in quality["shipped"]}
    results = [{"type": hub, "name": metric if metric in NO_PERCENT else f"{metric}, %",
                "value": quality["shipped"][metric]} for metric, hub in scored.items()]
    return yaml.safe_dump({
        "license": report["licence"], "library_name": "onnx", "pipeline_tag": kind,
        "tags": ["onnx", "onnxruntime", "knowledge-distillation", "quantization", form.split()[0], kind],
        "datasets": [name], "metrics": list(scored.values()),
        "model-index": [{"name": report["title"], "results": [{
            "task": {"type": kind},
            "dataset": {"name": f"{name}, {images(quality)}", "type": name, "split": "test"},
            "metrics": results}]}],
    }, sort_keys=False, allow_unicode=True, width=1000)


def limits(quality: Mapping, classes: Sequence[str]) -> list[str]:
    """What the numbers do not show."""
    seeds = quality["test"]["seeds"]
    return [
        f"Scores hold for images like the {images(quality)}; how the model does on others was not measured.",
        f"It always predicts one of its {len(classes)} classes, also where the image shows none of them.",
        "It was tested on images resized as above, by the decoder that `predict.py` uses; another way of resizing "
        "gives other predictions.",
        f"{seeds} seeds show how much training varies; they share one split of the data."
        if seeds > 1 else "One seed: another may give other scores.",
        "Latency and memory are those of one machine, named below; those of another differ.",
        "Neither fairness between groups of people nor robustness to manipulated images was tested.",
    ]


def devices(quantisation: Mapping, has_masks: bool) -> list[tuple[str, str]]:
    """(runtime, whether the small file is right there): what its graph decides, and what was seen of such files."""
    oldest = quantisation["oldest_onnxruntime"]
    unless = " unless its first layer is in float" if quantisation["float_layers"] else ""
    in_opencv4 = f"**wrong**{unless}; ship the float file there" if quantisation["form"] == "int8" else "right"
    return [
        (f"onnxruntime {oldest} or newer on arm64 and on x86 with VNNI or without AVX2", "right; older ones refuse it"),
        ("the same on x86 with AVX2 and without VNNI (Haswell to Skylake, the first EPYC)",
         "**wrong**, but by `predict.py`, which computes exactly there" if quantisation["saturates"] else "right"),
        ("OpenCV 4", "refuses it, and the float file too: it can't read the upsampling" if has_masks else in_opencv4),
    ]


def sources(tables: Mapping[str, Mapping], primary: str) -> Iterator[tuple[str, str, str, str]]:
    """(what, file, key, command) of each number that exists. tables: the files below metrics/, by name."""
    for what, file, key, command in SOURCES:
        key = key.format(primary=primary, model="int8")
        value = tables[file.removesuffix(".json")]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield what, f"metrics/{file}", key, command


def seeds(settings: Mapping) -> Iterator[tuple[str, str]]:
    """(key, value) of all parameters that decide random draws."""
    for key, value in flattened(settings):
        if key.rpartition(".")[2] in ("seed", "seeds", "fold"):
            yield key, cell(value)


def settings_sha256(settings: Mapping) -> str:
    """SHA-256 of the settings as JSON, keys sorted, without spaces; 4.0 counts as 4, as it does to DVC."""
    values = json.loads(json.dumps(settings),
                        parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text))
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> list[tuple[str, str]]:
    """(package, version) as installed here."""
    return [(name, importlib.metadata.version(name)) for name in PACKAGES]


def parameters(settings: Mapping) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
