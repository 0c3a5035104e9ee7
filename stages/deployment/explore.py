"""Which way of making a model small is worth it here. In: a float file. Out: for each way its score on val, its size
and its latency on this machine, in turns with the others; and a sentence on which one to choose.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import onnx
from tqdm import tqdm

from stages.deployment import latency, onnx_model, quantize
from stages.deployment.quantize import FORMS, Candidate, QuantizeParams

ROUNDS, WARMUP, SECONDS = 20, 5, 0.1  # of each model's turns, on one thread
EQUAL = 0.05  # share by which two latencies differ by chance, and by which a difference in size is worth nothing
SAFE = {"mode": "static", "weight_type": "int8", "reduce_range": True}
WAYS = (SAFE | {"per_channel": True}, SAFE | {"per_channel": False},
        SAFE | {"per_channel": True, "weight_type": "uint8"}, SAFE | {"per_channel": True, "reduce_range": False},
        {"mode": "weights"}, {"mode": "fp16"})


def explore(path: Path, settings: QuantizeParams) -> list[Candidate]:
    """The float model of `path`, then every way of making it small: as it is and, where that loses more than max_drop,
    also with its worst layers in float. Writes to a temporary folder only.
    """
    card, model = onnx_model.open_model(path, 1).card, onnx.load(path)
    scorer = quantize.ValScorer(card.task)
    rows = [Candidate(None, [], model, scorer(model))]
    for way in tqdm(WAYS, "explore", unit="way", disable=None):
        with quantize.quantiser(model, settings.model_copy(update=way | {"remedy": "layers"}), card.centred()) as ready:
            tried = quantize.candidates(ready, scorer, scorer.least(rows[0].val, settings.max_drop))
        best = quantize.best(tried)
        rows += [tried[0], best] if best.excluded_nodes else [tried[0]]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        files = {number: Path(folder, f"{number}.onnx") for number in range(len(rows))}
        for number, file in files.items():
            onnx_model.write(rows[number].model, card, file)
        runners = {number: running.enter_context(latency.Runner(file, 1)) for number, file in files.items()}
        seconds = latency.take_turns(runners, ROUNDS, 1, WARMUP, SECONDS)
        return [row._replace(size=files[number].stat().st_size, latency=median(seconds[number]))
                for number, row in enumerate(rows)]


def choose(rows: Sequence[Candidate], settings: QuantizeParams) -> Candidate | None:
    """The fastest small model that is right on every processor, loses at most max_drop and is no slower than the float
    one; None if there is none.

    Among equally fast ones the smallest, among equally small ones the best on val. Differences below EQUAL don't count.
    """
    float_row, *small = rows
    fit = [row for row in small if not row.settings.full_range and float_row.val - row.val <= settings.max_drop
           and row.latency <= (1 + EQUAL) * float_row.latency]
    for key in ("latency", "size"):
        least = min((getattr(row, key) for row in fit), default=0)
        fit = [row for row in fit if getattr(row, key) <= (1 + EQUAL) * least]
    return max(fit, key=lambda row: row.val, default=None)


def table(rows: Sequence[Candidate], settings: QuantizeParams) -> str:
    """What was tried, in columns, and what to set in params.yaml."""
    first, choice = rows[0], choose(rows, settings)
    lines = [f"{'way':40}{'val, %':>9}{'drop':>8}{'size, MB':>10}{'latency, ms':>13}{'speed-up':>10}"]
    lines += [f"{_describe(row):40}{row.val:9.2f}{first.val - row.val:8.2f}{row.size / 1e6:10.3f}"
              f"{1e3 * row.latency:13.3f}{first.latency / row.latency:9.2f}×" for row in rows]
    if choice:
        keys = ["mode", *["remedy"] * bool(choice.excluded_nodes)]
        if choice.settings.mode == "static":
            keys[1:1] = ["per_channel", *(key for key in ("weight_type", "reduce_range")
                                          if getattr(choice.settings, key) != getattr(settings, key))]
        changes = ", ".join(f"quantize.{key} to {str(getattr(choice.settings, key)).lower()}" for key in keys)
        advice = f"Best here: {_describe(choice)}. In params.yaml, set {changes}."
    else:
        advice = (f"None of them keeps within quantize.max_drop ({settings.max_drop:g} points) and the float model's "
                  "latency: the float file is the one to deploy.")
    if any(row.settings.full_range for row in rows[1:]):
        advice += "\nFull range is wrong on x86 with AVX2 and without VNNI, so it is never the best."
    return "\n".join([*lines, "", advice])


def _describe(row: Candidate) -> str:
    if row.settings is None:
        return "float"
    if row.settings.mode != "static":
        return FORMS[row.settings.mode]
    weights = ", uint8 weights" * (row.settings.weight_type == "uint8") + ", full range" * row.settings.full_range
    layers = f", {len(row.excluded_nodes)} layers float" * bool(row.excluded_nodes)
    return f"int8, a scale a {'channel' if row.settings.per_channel else 'tensor'}{weights}{layers}"
