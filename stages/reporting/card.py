"""What makes the page a model card: front matter for a model hub, where each number comes from, hashes, versions.

In: params.yaml, metrics as mappings. Out: YAML, rows of tables. Nothing here depends on the day or the commit.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence

import yaml

from stages.reporting.results import images

PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}  # of the hub
# Metrics of quality.json that the hub knows, by its names.
METRICS = {"accuracy": "accuracy", "miou": "mean_iou", "precision": "precision", "recall": "recall", "f1": "f1",
           "mcc": "matthews_correlation", "brier": "brier_score"}
PLAIN = ("mcc", "brier")  # those of them that are not in %
# Packages whose versions decide what comes out.
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "scipy", "onnx", "onnxscript", "onnxruntime",
            "ImageHash", "cleanvision", "cleanlab", "dvc")
# What is measured, its file and key below metrics/, and the command that makes it; {primary} is the leading metric.
SOURCES = (
    ("scores of the four models", "quality.json", "{model}.{primary}", "dvc repro evaluate"),
    ("their standard deviation over seeds", "quality.json", "student.{primary}_std", "dvc repro evaluate"),
    ("scores of the deployed files", "quality.json", "{model}.deployed", "dvc repro evaluate"),
    ("all scores of the small student's file", "quality.json", "shipped.{primary}", "dvc repro evaluate"),
    ("gain of distillation", "quality.json", "distillation.gain", "dvc repro evaluate"),
    ("gap recovered", "quality.json", "distillation.gap_recovered", "dvc repro evaluate"),
    ("p-value of the deployed pair", "quality.json", "distillation.p_value", "dvc repro evaluate"),
    ("what the small form loses on test", "quality.json", "distillation.int8_drop", "dvc repro evaluate"),
    ("what it loses on val", "quantisation.json", "val.drop", "dvc repro quantize"),
    ("parameters and sizes", "size.json", "{model}.size_mb", "dvc repro quantize"),
    ("latency, images/s, memory", "speed.json", "{model}.latency_ms", "dvc repro benchmark"),
    ("images found, kept, dropped; findings", "data.json", "images.found", "dvc repro clean"),
    ("times of training", "timing/distill.json", "seconds", "dvc repro distill"),
)


def front_matter(settings: Mapping, quality: Mapping, form: str) -> str:
    """YAML as a model hub reads it from the head of a card; the results are those of the file that ships.

    form: of its numbers, as metrics/quantisation.json has it.
    """
    task, name, report = settings["data"]["task"], settings["data"]["name"], settings["report"]
    kind = PIPELINES.get(task, "other")
    scored = {metric: hub for metric, hub in METRICS.items() if metric in quality["shipped"]}
    results = [{"type": hub, "name": f"{metric}{'' if metric in PLAIN else ', %'}", "value": quality["shipped"][metric]}
               for metric, hub in scored.items()]
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
    """What the numbers don't say."""
    test = quality["test"]
    seeds = (f"{test['seeds']} seeds show how much a start matters; they share one split of the data."
             if test["seeds"] > 1 else "One seed: another start may give other scores.")
    return [
        f"Scores hold for pictures like the {images(quality)}; how it does on others was not measured.",
        f"It always answers with one of its {len(classes)} classes, also where none of them is to be seen.",
        "It was measured on pictures sized as above, by the decoder that `predict.py` uses; another way of resizing "
        "gives other answers.",
        seeds,
        "Latency and memory are those of one machine, named below; a device has its own.",
        "Neither fairness between groups of people nor resistance to doctored pictures was tested.",
    ]


def sources(tables: Mapping[str, Mapping], primary: str) -> Iterator[tuple[str, str, str, str]]:
    """(what, file, key, command) of each number that there is. tables: the files below metrics/, by name."""
    for what, file, key, command in SOURCES:
        key = key.replace("{primary}", primary).replace("{model}", "int8")
        value = tables[file.removesuffix(".json")]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            yield what, f"metrics/{file}", key, command


def seeds(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, value) of everything in params.yaml that chance depends on."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from seeds(value, f"{prefix}{key}.")
        elif key in ("seed", "seeds", "fold"):
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def settings_sha256(settings: Mapping) -> str:
    """SHA-256 of the settings as JSON, keys sorted, without spaces; 4.0 counts as 4, as it does to DVC."""
    text = json.dumps(_plain(settings), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def versions() -> list[tuple[str, str]]:
    """(package, version) of those installed here."""
    return [(name, importlib.metadata.version(name)) for name in PACKAGES]


def parameters(settings: Mapping) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
