"""How much smaller and faster a deployed file is than the large networks that it replaces.

    python -m benchmarks.device models/student.int8.onnx [--against resnet50 resnet152]

Each network of torchvision is built for the file's classes and image size, exported in float as the pipeline exports,
and run in the same onnxruntime: single images, in turns with the file, a process and one thread each. Its weights are
random: size, time and memory don't depend on them.
"""

import argparse
import dataclasses
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from stages.core import errors
from stages.core.device import processor
from stages.data.image_size import pixels_text
from stages.deployment import export, latency, onnx_model
from stages.models import factory

ROUNDS, WARMUP, SECONDS = 10, 3, 0.5  # of each file's turns


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--against", nargs="+", default=["resnet50", "resnet152"], metavar="ARCHITECTURE")
    options = parser.parse_args()
    card = onnx_model.open_model(options.model, 1).card
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        files, parameters = {options.model.name: options.model}, {}
        for name in options.against:
            files[name] = Path(folder, f"{name}.onnx")
            parameters[name] = export_network(name, card, files[name])
        runners = {name: running.enter_context(latency.Runner(path, 1)) for name, path in files.items()}
        times = latency.take_turns(runners, ROUNDS, 1, WARMUP, SECONDS)
        memory = {name: runner.measure(1, 0, 0)["peak_memory_mb"] for name, runner in runners.items()}
        size = {name: path.stat().st_size / 1e6 for name, path in files.items()}
    print(f"{processor()}, one thread, one image of {pixels_text(card.image_size)}\n")
    print("| | parameters, M | size, MB | latency, ms | peak memory, MB | times as large | times as slow |\n"
          "|---|---:|---:|---:|---:|---:|---:|")
    seconds = {name: median(values) for name, values in times.items()}
    small = options.model.name
    for name in files:
        count = f"{parameters[name] / 1e6:.2f}" if name in parameters else ""
        print(f"| {name} | {count} | {size[name]:.2f} | {1e3 * seconds[name]:.2f} | {memory[name]:.0f} | "
              f"{size[name] / size[small]:.1f} | {seconds[name] / seconds[small]:.1f} |")


def export_network(architecture: str, card: onnx_model.Card, path: Path) -> int:
    """Write the network's file; returns its number of parameters."""
    params = factory.NetworkParams(model="torchvision", weights="none",
                                   options={"architecture": architecture, "stem": "standard"})
    net = factory.freeze(factory.build(params, len(card.classes), card.input_size, 0))
    new_card = dataclasses.replace(card, model="torchvision", role="teacher", form="float", weights_sha256="",
                                   mean=tuple(net.mean.tolist()), std=tuple(net.std.tolist()), settings_sha256="")
    onnx_model.write(export.to_onnx(net, card.input_size), new_card, path)
    return factory.count(net)


if __name__ == "__main__":
    errors.run(main)
