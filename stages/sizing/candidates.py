"""The students that are worth training: of each depth, stride and stem the widest that keeps to benchmark.budget, those
that start from weights, and the one in params.yaml. In: the budget. Out: rows, each with its measured cost.
"""

import itertools
import math
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from stages.core.errors import UserError
from stages.data import prepared
from stages.deployment.budget import BudgetParams
from stages.deployment.quantize import QuantizeParams
from stages.models import factory
from stages.sizing import measure, space
from stages.sizing.measure import Cost, Notebook
from stages.sizing.space import Options, named
from stages.sizing.table import Row


class Demands(NamedTuple):
    """What a student is held against, and how its file is made."""

    limits: BudgetParams
    quantize: QuantizeParams
    threads: int  # of a latency


def find(present: factory.NetworkParams, demands: Demands, notes: Notebook,
         folder: Path) -> tuple[list[Row], list[Row]]:
    """Those that fit, the present one first, then those that start from weights, of each the slowest first: where time
    is short, the last ones are not trained. And the others that were measured.

    folder: for their files. Raises UserError where none fits.
    """
    measured: dict[str, Row] = {}

    def fits(options: Options) -> bool:
        network = present.model_copy(update={"options": options, "weights": "none"})
        count = measure.parameters(network)
        if count / 1e6 > (demands.limits.size_mb or math.inf) and options != present.options:
            return False  # which needs no file to know: a parameter takes a byte at least
        name, path = named(options), folder / f"{named(options)}.onnx"

        def cost() -> Cost:
            measure.write_file(network, demands.quantize, path)
            return measure.costs({name: path}, demands.threads)[name]

        own = Cost(*notes.get(f"cost of {name}", cost))
        measured[name] = Row(options, count, start(present, options), own, [],
                             measure.missed(own, demands.limits))
        return not measured[name].note

    families, missing = space.families(present.model, present.options), {""}
    started = [[options] for family in families for options in family if start(present, options) != "none"]
    families = [[present.options], *started, *families]
    while missing:
        chosen = {named(options) for family in tqdm(families, "search", unit="family", disable=None)
                  if (options := space.widest(family, fits))}
        missing = _compare(measured, sorted(chosen), demands, notes, folder)
        families = [_before(missing, family) for family in families]  # a narrower one may take the place of such
    fitting = sorted((measured[name] for name in chosen),
                     key=lambda row: (row.options != present.options, row.weights == "none", -row.cost.latency_ms))
    others = [row if row.note else row._replace(note="a wider one fits") for name, row in measured.items()
              if name not in chosen]
    if not fitting:
        least = min(others, key=lambda row: row.cost.latency_ms)
        raise UserError(f"none of the {len(others)} students that were measured keeps to benchmark.budget in "
                        f"params.yaml; the fastest ({named(least.options)}) misses {least.note}; raise the limit, or "
                        "set student.options to a smaller network to search around")
    return fitting, others


def _before(missing: Container[str], family: list[Options]) -> list[Options]:
    """Those of a family that are narrower than each one of these names."""
    return list(itertools.takewhile(lambda options: named(options) not in missing, family))


def _compare(measured: dict[str, Row], names: list[str], demands: Demands, notes: Notebook, folder: Path) -> set[str]:
    """Measures these in turns, so that their latencies compare, and changes their rows. Returns the names of those that
    miss a limit after all.
    """
    costs = notes.get(f"costs in turns of {names}", lambda: measure.costs(
        {name: folder / f"{name}.onnx" for name in names}, demands.threads))
    for name, cost in costs.items():
        measured[name] = measured[name]._replace(cost=Cost(*cost), note=measure.missed(Cost(*cost), demands.limits))
    return {name for name in names if measured[name].note}


def start(present: factory.NetworkParams, options: Options) -> str:
    """student.weights of a student with these options: the present one's where they fit, else a file of data/weights/
    that is named after its model and does; none where the present one itself starts from none, or nothing fits.
    """
    return next((name for name in starts(present) if _fits(name, present, options)), "none")


def starts(present: factory.NetworkParams) -> list[str]:
    """The `weights` that students may start from, the present one's first; none where it starts from nothing."""
    if present.weights == "none":
        return []
    named_after = sorted(path.name for path in factory.WEIGHTS.glob(f"{present.model}_*.safetensors"))
    return list(dict.fromkeys([present.weights, *named_after]))


def _fits(weights: str, present: factory.NetworkParams, options: Options) -> bool:
    try:
        factory.build(present.model_copy(update={"options": options, "weights": weights}), len(prepared.classes()),
                      prepared.image_size(), seed=0)
    except UserError:
        return False
    return True
