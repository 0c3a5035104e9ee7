"""How good the deployed files are. In: the ONNX files and the test split. Out: scores and plots.

reads   data/prepared/test/, data/prepared/classes.txt, models/*.onnx, models/seeds/
writes  metrics/quality.json, and what stages/tasks/<task>/figures.py puts under plots/test/ and data/confused/
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydantic

from stages.core import errors, files, params, plugins, workdir
from stages.core.device import thread_count
from stages.data import prepared, tiling
from stages.deployment import onnx_model
from stages.evaluation import statistics
from stages.evaluation.confusion import Predictions


class EvaluateParams(params.Section):
    batch_size: int = pydantic.Field(ge=1, le=2**20)  # tiles per call of a model; memory, not results, depends on it
    ece_bins: int = pydantic.Field(ge=1, le=10**4)  # of the expected calibration error and the reliability table
    resamples: int = pydantic.Field(ge=100, le=10**6)  # of the test images, behind the intervals
    seed: params.Seed  # of the resampling


QUALITY, PLOTS, CONFUSED = Path("metrics/quality.json"), Path("plots/test"), Path("data/confused")
DRAWN = ("teacher", "baseline", "student", "int8")  # of whose predictions pictures are made
SINGLE = ("teacher", "teacher_int8")  # of one seed: the best on val
SHARES, DIFFERENCES = (0, 100), (-100, 100)  # possible % and points; intervals from two seeds would go beyond


@workdir.lock("evaluate")
def main() -> None:
    settings = params.load("evaluate", EvaluateParams)
    task = onnx_model.open_model(onnx_model.DEPLOYED["teacher"], thread_count()).card.task
    scores = plugins.module("tasks/*/scores", task, "data.task")
    figures = plugins.module("tasks/*/figures", task, "data.task")
    test = TestSplit(settings, scores)
    deployed = {name: test.predict(path) for name, path in onnx_model.DEPLOYED.items() if name in DRAWN}
    results = {name: [test.result(file) for file in ([path] if name in SINGLE else seed_files(name))]
               for name, path in onnx_model.DEPLOYED.items()}

    draws = statistics.resample({name: [result.stats for result in own] for name, own in results.items()},
                                scores.score_of, settings.resamples, settings.seed)
    quality = {name: summary([result.scores for result in own]) | interval(scores.PRIMARY, draws[name], SHARES)
               | {"deployed": test.result(onnx_model.DEPLOYED[name]).scores[scores.PRIMARY]}
               for name, own in results.items()}
    # Beside the means over the seeds, every score of the file that ships: a model card publishes these.
    quality["shipped"] = test.result(onnx_model.DEPLOYED["int8"]).scores
    shipped = onnx_model.open_model(onnx_model.DEPLOYED["int8"], 1).card.role
    quality["distillation"] = (distillation(quality, draws, scores.PRIMARY, shipped)
                               | paired(deployed["baseline"], deployed["student"], scores, settings)
                               | {"teacher_agreement": deployed["student"].agreement(deployed["teacher"])})
    quality["test"] = {"images": len(np.unique(test.windows[:, 0])), "seeds": len(results["student"]),
                       "shipped_role": shipped, "teacher_errors": deployed["teacher"].errors(),
                       "resamples": settings.resamples, **scores.WORDS}
    files.write_json(QUALITY, rounded(quality))
    figures.draw(deployed, scores, test.classes, settings.ece_bins, test.image, PLOTS, CONFUSED)
    line = ", ".join(f"{name} {quality[name][scores.PRIMARY]:.2f} %" for name in results)
    print(f"evaluate: {line}", file=sys.stderr)


@dataclass(frozen=True)
class Result:
    """What is kept of a file's predictions, which are large."""

    scores: dict  # as `measure` of the task's scores.py returns them, and where_teacher_errs
    stats: np.ndarray  # (U,K): its `sufficient_stats`


class TestSplit:
    """The test split and each file's results on it."""

    def __init__(self, settings: EvaluateParams, scores):
        self.tiles, self.targets, self.windows = (read("test") for read in (
            prepared.images, prepared.targets, prepared.windows))
        self.classes, self.settings, self.scores = prepared.classes(), settings, scores
        self.results = {}  # by the file's hash

    @cached_property
    def teacher(self) -> Predictions:
        """The deployed teacher's predictions, which where_teacher_errs of all other files needs."""
        return self._run(onnx_model.DEPLOYED["teacher"])

    def predict(self, path: Path) -> Predictions:
        """The file's predictions; its result is kept."""
        is_teacher = path == onnx_model.DEPLOYED["teacher"]
        predictions = self.teacher if is_teacher else self._run(path)
        table = self.scores.measure(predictions, self.classes, self.settings.ece_bins)
        if not is_teacher and (share := predictions.accuracy_where_wrong(self.teacher)) is not None:
            table["where_teacher_errs"] = share
        self.results[files.sha256(path)] = Result(table, self.scores.sufficient_stats(predictions))
        return predictions

    def result(self, path: Path) -> Result:
        """A deployed file is a copy of one seed's; each content runs once."""
        content = files.sha256(path)
        if content not in self.results:
            self.predict(path)
        return self.results[content]

    def image(self, number: int) -> np.ndarray:
        """A test image, uint8 (H,W,3), joined from its tiles."""
        rows = np.flatnonzero(self.windows[:, 0] == number)
        return tiling.stitch(self.windows[rows], self.tiles[rows])

    def _run(self, path: Path) -> Predictions:
        model = onnx_model.open_model(path, thread_count())
        if list(model.card.classes) != self.classes:
            raise errors.UserError(f"{path} was made for other classes than {prepared.FOLDER}/classes.txt; "
                                   "run dvc repro")
        return self.scores.collect(self._batches(model), self.windows)

    def _batches(self, model: onnx_model.Model) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self.tiles), self.settings.batch_size):
            rows = slice(start, start + self.settings.batch_size)
            yield model(np.ascontiguousarray(self.tiles[rows])), np.asarray(self.targets[rows])


def seed_files(name: str) -> list[Path]:
    paths = sorted(onnx_model.SEEDS.glob(f"{name}-*.onnx"))
    if not paths:
        raise errors.UserError(f"{onnx_model.SEEDS} holds no {name}-<seed>.onnx; run dvc repro to make them")
    return paths


def summary(rows: list[dict]) -> dict:
    """The mean of each metric over the seeds, and `<metric>_std` where there are several; nested tables likewise, but
    for a class whose `<class>_std` is another class.
    """
    table = {}
    for metric, first in rows[0].items():
        values = [row[metric] for row in rows]
        if isinstance(first, Mapping):
            table[metric] = summary(values)
        else:
            table[metric] = float(np.mean(values))
            if len(rows) > 1 and f"{metric}_std" not in rows[0]:
                table[f"{metric}_std"] = float(np.std(values, ddof=1))
    return table


def interval(name: str, draws: np.ndarray, limits: tuple[float, float]) -> dict[str, float]:
    """{name_low, name_high} within the limits. Neither where all draws are equal: from one test image, or from images
    that all fare alike, nothing can be inferred about others.
    """
    low, high = np.clip(statistics.interval(draws), *limits).tolist()
    return {f"{name}_low": low, f"{name}_high": high} if np.ptp(draws) else {}


def distillation(quality: dict[str, dict], draws: dict[str, np.ndarray], primary: str,
                 shipped: str) -> dict[str, float]:
    """gain and int8_drop: points between means; gap_recovered: in %; their intervals. shipped: the network that the
    int8 files were made of: baseline, student or teacher.

    gap_recovered is absent where the teacher isn't ahead of the baseline: there is no gap to recover. Its interval is
    absent where the teacher isn't surely ahead.
    """
    means = {name: quality[name][primary] for name in draws}
    gain, gap = draws["student"] - draws["baseline"], draws["teacher"] - draws["baseline"]
    table = {"gain": means["student"] - means["baseline"], **interval("gain", gain, DIFFERENCES)}
    recovered = statistics.gap_recovered(means["teacher"], means["baseline"], means["student"])
    if recovered is not None:
        table["gap_recovered"] = recovered
        if ends := statistics.ratio_interval(gain, gap):
            table["gap_recovered_low"], table["gap_recovered_high"] = ends
    return table | {"int8_drop": means[shipped] - means["int8"],
                    **interval("int8_drop", draws[shipped] - draws["int8"], DIFFERENCES)}


def paired(first: Predictions, second: Predictions, scores, settings: EvaluateParams) -> dict[str, float]:
    """p_value: that they do equally well. paired_gain: by how many points the second is ahead on the mean test image;
    its interval is for new test images and these two networks.
    """
    ahead = np.subtract(*(scores.score_of(scores.sufficient_stats(own)) for own in (second, first)))  # (U,)
    draws = statistics.resample({"ahead": [ahead[:, None]]}, lambda totals: totals[..., 0] / len(ahead),
                                settings.resamples, settings.seed)["ahead"]
    return {"p_value": scores.compare(first, second), "paired_gain": float(ahead.mean()),
            **interval("paired_gain", draws, DIFFERENCES)}


def rounded(table: dict) -> dict:
    """To 4 decimals, so that a last bit doesn't make a difference; + 0.0 makes −0.0 a 0."""
    kinds = {dict: rounded, float: lambda value: round(value, 4) + 0.0}
    return {name: kinds.get(type(value), lambda same: same)(value) for name, value in table.items()}


if __name__ == "__main__":
    errors.run(main)
