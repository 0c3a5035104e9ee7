"""Which way of making a model small is worth it here. In: a float file. Out: a row for each way: its score on val, its
size, its latency on this machine in turns with the others; and a word on which one to choose.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import onnx
from tqdm import tqdm

from stages.data import prepared
from stages.deployment import latency, onnx_model, quantize
from stages.deployment.onnx_model import Card
from stages.deployment.quantize import FORMS, Candidate, QuantizeParams, ValScorer

ROUNDS, WARMUP, SECONDS = 20, 5, 0.1  # of each model's turns, on one thread
EQUAL = 0.05  # share by which two latencies differ by chance, and by which a difference in size is worth nothing
WAYS = ({"mode": "static", "per_channel": True}, {"mode": "static", "per_channel": False}, {"mode": "weights"},
        {"mode": "fp16"})


class Tried(NamedTuple):
    """One way, and what it is worth."""

    settings: QuantizeParams | None  # None: the float model itself
    in_float: list[str]
    val: float  # in %
    size: int  # bytes
    latency: float  # seconds an image


def tried(path: Path, card: Card, settings: QuantizeParams, judge: ValScorer) -> list[Tried]:
    """The float model of `path`, and every way of making it small. Writes to a folder that goes."""
    model, calibration = onnx.load(path), quantize.evenly_spaced(prepared.images("train"), settings.calibration_images)
    before = Candidate([], model, judge(model))
    made = [(None, before)]
    for way in tqdm(WAYS, "explore", unit="way", disable=None):
        asked = settings.model_copy(update=way | {"remedy": "layers"})
        made += [(asked, found) for found in _tries(model, asked, calibration, card, judge, before.val)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        runners, sizes = {}, {}
        for number, (_, found) in enumerate(made):
            file = Path(folder, f"{number}.onnx")
            onnx_model.write(found.small, card, file)
            sizes[number] = file.stat().st_size
            runners[number] = running.enter_context(latency.Runner(file, 1))
        spent = latency.take_turns(runners, ROUNDS, 1, WARMUP, SECONDS)
    return [Tried(asked, found.in_float, found.val, sizes[number], median(spent[number]))
            for number, (asked, found) in enumerate(made)]


def chosen(rows: Sequence[Tried], settings: QuantizeParams) -> Tried | None:
    """The fastest of the small ones that lose no more than max_drop and, but for EQUAL, no time; of equals the
    smallest, of equals the best on val; or None.
    """
    float_row, *small = rows
    fit = [row for row in small if float_row.val - row.val <= settings.max_drop
           and row.latency <= (1 + EQUAL) * float_row.latency]
    for key in ("latency", "size"):
        least = min((getattr(row, key) for row in fit), default=0)
        fit = [row for row in fit if getattr(row, key) <= (1 + EQUAL) * least]
    return max(fit, key=lambda row: row.val, default=None)


def table(rows: Sequence[Tried], settings: QuantizeParams) -> str:
    """What was tried, in columns, and what to set in params.yaml."""
    first, choice = rows[0], chosen(rows, settings)
    lines = [f"{'way':34}{'val, %':>9}{'drop':>8}{'size, MB':>10}{'latency, ms':>13}{'speed-up':>10}"]
    lines += [f"{_said(row):34}{row.val:9.2f}{first.val - row.val:8.2f}{row.size / 1e6:10.3f}{1e3 * row.latency:13.3f}"
              f"{first.latency / row.latency:9.2f}×" for row in rows]
    if not choice:
        return "\n".join([*lines, "", f"None of them keeps within quantize.max_drop ({settings.max_drop:g} points) and "
                          "the float model's latency: the float student is the one to deploy."])
    asked = ["mode", *["per_channel"] * (choice.settings.mode == "static"), *["remedy"] * bool(choice.in_float)]
    wanted = ", ".join(f"quantize.{key} to {str(getattr(choice.settings, key)).lower()}" for key in asked)
    return "\n".join([*lines, "", f"Best here: {_said(choice)}. In params.yaml, set {wanted}."])


def _tries(model: onnx.ModelProto, settings: QuantizeParams, calibration, card: Card, judge: ValScorer,
           before: float) -> list[Candidate]:
    """One way as it is, and where it loses too much, with its worst layers in float."""
    with quantize.quantiser(model, settings, calibration, card.centred()) as ready:
        found = quantize.candidates(ready, settings, judge, before - settings.max_drop)
        first, best = found[0], quantize.best(found)
        return [first, best] if best.in_float else [first]


def _said(row: Tried) -> str:
    if row.settings is None:
        return "float"
    scales = f", a scale a {'channel' if row.settings.per_channel else 'tensor'}" * (row.settings.mode == "static")
    kept = f", {len(row.in_float)} layers float" * bool(row.in_float)
    return FORMS[row.settings.mode] + scales + kept
