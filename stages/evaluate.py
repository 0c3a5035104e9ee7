"""How good the deployed files are. In: the ONNX files and the test split, which nothing else reads. Out: scores, plots.

reads   data/prepared/test/, data/prepared/classes.txt, models/*.onnx, models/seeds/
writes  metrics/quality.json, and what `draw` of stages/kit/scores/<task>.py puts under plots/test/
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pydantic

from stages.kit import faults, named, onnx_files, params, prepared, runtime, statistics, tables, windows, work


class EvaluateParams(params.Section):
    batch_size: int = pydantic.Field(ge=1)  # images a run; memory, not results, depends on it
    ece_bins: int = pydantic.Field(ge=1)  # of the expected calibration error and the reliability table


QUALITY, PLOTS = Path("metrics/quality.json"), Path("plots/test")


def main() -> None:
    settings = params.load("evaluate", EvaluateParams)
    teacher = onnx_files.open_model(onnx_files.DEPLOYED["teacher"], runtime.threads())
    scores = named.module("scores", teacher.card.task, "data.task")
    test = TestSplit(settings, scores)
    files = {name: [path] if name == "teacher" else seed_files(name) for name, path in onnx_files.DEPLOYED.items()}
    deployed = {name: test.answers(path) for name, path in onnx_files.DEPLOYED.items()}

    quality = {name: summary([test.scores_of(file) for file in files[name]])
               | {"deployed": test.scores_of(path)[scores.PRIMARY]} for name, path in onnx_files.DEPLOYED.items()}
    quality["distillation"] = distillation(quality, deployed, scores)
    quality["test"] = {"images": len(np.unique(test.windows[:, 0])), "seeds": len(files["student"]), **scores.WORDS}
    tables.write_json(QUALITY, rounded(quality))
    scores.draw(deployed, test.classes, settings.ece_bins, test.photograph, PLOTS)
    said = ", ".join(f"{name} {quality[name][scores.PRIMARY]:.2f} %" for name in deployed)
    print(f"evaluate: {said}", file=sys.stderr)


class TestSplit:
    """The test split, and what each file says about it. Of a file only its scores are kept: answers are large."""

    def __init__(self, settings: EvaluateParams, scores):
        self.images, self.targets, self.windows = (read("test") for read in (
            prepared.images, prepared.targets, prepared.windows))
        self.classes, self.settings, self.scores, self.known = prepared.classes(), settings, scores, {}

    def answers(self, path: Path):
        model = onnx_files.open_model(path, runtime.threads())
        if list(model.card.classes) != self.classes:
            raise faults.Fault(f"{path} was made for other classes than {prepared.FOLDER}/classes.txt; run dvc repro")
        answers = self.scores.collect(self._batches(model), self.windows)
        self.known[work.sha256(path)] = self.scores.measure(answers, self.classes, self.settings.ece_bins)
        return answers

    def scores_of(self, path: Path) -> dict:
        """A deployed file is a copy of one seed's, and runs once."""
        content = work.sha256(path)
        if content not in self.known:
            self.answers(path)
        return self.known[content]

    def photograph(self, picture: int) -> np.ndarray:
        """uint8 (H,W,3), put together from its squares."""
        squares = np.flatnonzero(self.windows[:, 0] == picture)
        return windows.whole(self.windows[squares], self.images[squares])

    def _batches(self, model: onnx_files.Model) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self.images), self.settings.batch_size):
            rows = slice(start, start + self.settings.batch_size)
            yield model(np.ascontiguousarray(self.images[rows])), np.asarray(self.targets[rows])


def seed_files(name: str) -> list[Path]:
    found = sorted(onnx_files.SEEDS.glob(f"{name}-*.onnx"))
    if not found:
        raise faults.Fault(f"{onnx_files.SEEDS} holds no {name}-<seed>.onnx; run dvc repro to make them")
    return found


def summary(rows: list[dict]) -> dict:
    """The mean of each metric over the seeds, `<metric>_std` beside it where there are several; the same of a table."""
    table = {}
    for metric, first in rows[0].items():
        values = [row[metric] for row in rows]
        if isinstance(first, Mapping):
            table[metric] = summary(values)
            continue
        table[metric], std = statistics.mean_and_std(values)
        if std is not None:
            table[f"{metric}_std"] = std
    return table


def distillation(quality: dict[str, dict], deployed: dict, scores) -> dict[str, float]:
    """gain and int8_drop: points between means; gap_recovered, teacher_agreement: in %; p_value and paired_gain (in
    points): of the deployed pair.

    gap_recovered is absent where the teacher isn't ahead of the baseline: there is no gap to recover.
    """
    primary = {name: quality[name][scores.PRIMARY] for name in deployed}
    recovered = statistics.gap_recovered(primary["teacher"], primary["baseline"], primary["student"])
    table = {"gain": primary["student"] - primary["baseline"], "gap_recovered": recovered,
             **scores.compare(deployed["baseline"], deployed["student"]),
             "teacher_agreement": scores.agreement(deployed["student"], deployed["teacher"]),
             "int8_drop": primary["student"] - primary["int8"]}
    return {name: value for name, value in table.items() if value is not None}


def rounded(table: dict) -> dict:
    """To 4 decimals, so that a last bit doesn't make a difference; + 0.0 makes −0.0 a 0."""
    kinds = {dict: rounded, float: lambda value: round(value, 4) + 0.0}
    return {name: kinds.get(type(value), lambda same: same)(value) for name, value in table.items()}


if __name__ == "__main__":
    faults.run(main)
