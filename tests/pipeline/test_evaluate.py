"""`evaluate` compares the right files with each other: its table against scores of each ONNX file, worked out anew."""

import dataclasses
import statistics as plain
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import scipy.stats
from conftest import Project
from onnx import TensorProto, helper
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar

from stages import evaluate
from stages.core import errors, files
from stages.data import prepared, tiling
from stages.data.tiling import Sizing
from stages.deployment import onnx_model
from stages.evaluation import statistics
from stages.reporting import results
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import scores as mask_scores

CLASSES = ["sea", "land", "boat", "gull, far"]
SEEDS = (0, 1, 2)
SETTINGS = evaluate.EvaluateParams(batch_size=1, ece_bins=5, resamples=400, seed=0)


def network(weights: np.ndarray, task: str) -> onnx.ModelProto:
    """uint8 (N,S,S,3) → logits from the colour of each pixel, or from the mean colour. weights: (3,C)."""
    mean = [helper.make_node("ReduceMean", ["float"], ["colour"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"])]
    each = [helper.make_node("MatMul", ["float", "weights"], ["last"]),
            helper.make_node("Transpose", ["last"], ["logits"], perm=[0, 3, 1, 2])]
    classes = weights.shape[1]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
         *(each if task == "segmentation" else mean)], "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "S", "S", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT,
                                       ["N", classes, *["S", "S"] * (task == "segmentation")])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.astype(np.float32).ravel())])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def split_arrays(task: str, random: np.random.Generator, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Images whose labels mostly follow from their colours; the last class never occurs."""
    if task == "classification":
        images = random.integers(0, 256, (300, 2, 2, 3), np.uint8)
        targets = (images.mean((1, 2)) @ truth)[:, :3].argmax(1)
        targets = np.where(random.random(300) < 0.1, random.integers(0, 3, 300), targets)
        return {"images": images, "targets": targets, "windows": np.array([(n, 0, 0, 2, 2) for n in range(300)])}
    sizing = Sizing(16, 16, "tiles", 1.0, 4)
    photographs = [random.integers(0, 256, (*size, 3), np.uint8) for size in (
        (20, 30), (16, 16), (40, 18), (24, 24), (17, 40), (30, 30))]
    masks = [np.where(random.random(image.shape[:2]) < 0.1, random.integers(0, 3, image.shape[:2]),
                      (image @ truth)[..., :3].argmax(-1)).astype(np.int16) for image in photographs]
    masks[1][:5] = prepared.IGNORED
    return {"images": np.concatenate([tiling.cut_image(image, sizing) for image in photographs]),
            "targets": np.concatenate([tiling.cut_mask(mask, sizing) for mask in masks]),
            "windows": np.array([place for number, mask in enumerate(masks)
                                 for place in tiling.places(*mask.shape, number, sizing)])}


class Case(NamedTuple):
    """A project in which `evaluate` has run."""

    project: Project
    task: str
    quality: dict
    units: Callable[[object], list[tuple[np.ndarray, np.ndarray]]]  # a file → (actual, predicted) of each unit
    printed: str

    def primary(self, path) -> float:
        actual, predicted = self.pooled(path)
        return 100 * (metrics.accuracy_score(actual, predicted) if self.task == "classification" else
                      metrics.jaccard_score(actual, predicted, labels=np.unique(actual), average="macro"))

    def pooled(self, path) -> tuple[np.ndarray, np.ndarray]:
        return tuple(map(np.concatenate, zip(*self.units(path), strict=True)))

    def seeds(self, name: str) -> list:
        return [onnx_model.DEPLOYED[name]] if name in evaluate.SINGLE else [
            onnx_model.SEEDS / f"{name}-{seed}.onnx" for seed in SEEDS]

    def stats(self, path) -> np.ndarray:
        """Sufficient statistics of each unit."""
        if self.task == "classification":
            return np.array([[int(actual[0] == predicted[0]), 1] for actual, predicted in self.units(path)])
        return np.stack([metrics.confusion_matrix(*unit, labels=range(4)).ravel() for unit in self.units(path)])


@pytest.fixture(scope="module", params=["classification", "segmentation"])
def case(request, tmp_path_factory) -> Iterator[Case]:
    task = request.param
    project = Project(tmp_path_factory.mktemp(task)).set("evaluate.batch_size", 7).set("evaluate.resamples", 200)
    stored, random = project.folder / prepared.FOLDER, np.random.default_rng(3)
    truth = random.normal(size=(3, 4)) / 64
    (stored / "test").mkdir(parents=True)
    for name, values in split_arrays(task, random, truth).items():
        np.save(stored / f"test/{name}.npy", values.astype(np.int32) if name == "windows" else values)
    (stored / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    values = {"classes": tuple(CLASSES), "image_size": 16, "resize": "tiles", "scale": 1.0, "overlap": 4, "task": task,
              "mean": (128.0,) * 3, "std": (64.0,) * 3, "model": "colours", "role": "student", "form": "float",
              "colours": ((0, 0, 0), (230, 159, 0), (86, 180, 233)), "weights_sha256": "0" * 64,
              "settings_sha256": "1" * 64}
    card = onnx_model.Card(**{field.name: values[field.name] for field in dataclasses.fields(onnx_model.Card)})
    spread = {"teacher": 0.001, "baseline": 0.01, "student": 0.005, "int8": 0.008, "teacher_int8": 0.002}
    networks = {onnx_model.DEPLOYED[name]: name for name in evaluate.SINGLE} | {
        onnx_model.SEEDS / f"{name}-{seed}.onnx": name for name in ("baseline", "student", "int8") for seed in SEEDS}
    for path, name in networks.items():
        onnx_model.write(network(truth + spread[name] * random.normal(size=truth.shape), task), card,
                         project.folder / path)
    for name, seed in (("baseline", 1), ("student", 2), ("int8", 0)):
        (project.folder / onnx_model.DEPLOYED[name]).write_bytes(
            (project.folder / onnx_model.SEEDS / f"{name}-{seed}.onnx").read_bytes())

    def units(path) -> list[tuple[np.ndarray, np.ndarray]]:
        rows, images, targets = (read("test") for read in (prepared.windows, prepared.images, prepared.targets))
        model, pairs = onnx_model.open_model(path, 1), []
        for number in np.unique(rows[:, 0]):  # a model of single pixels predicts the same for a photograph's squares
            own = np.flatnonzero(rows[:, 0] == number)
            target = tiling.stitch(rows[own], targets[own]) if task == "segmentation" else targets[own]
            predicted = model(tiling.stitch(rows[own], images[own])[None]).argmax(1)
            pairs.append((target[target >= 0], predicted.reshape(target.shape)[target >= 0]))
        return pairs

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        lines = []
        patch.setattr("builtins.print", lambda *values, **options: lines.append(" ".join(map(str, values))))
        evaluate.main()
        patch.undo()
        patch.chdir(project.folder)
        yield Case(project, task, files.read_json(evaluate.QUALITY), units, lines[-1])


def near(value):
    return pytest.approx(value, abs=6e-5)  # rounded to 4 decimals


def test_means_are_over_seeds_and_deployed_is_one_file(case):
    key = case.quality["test"]["primary"]
    for name, path in onnx_model.DEPLOYED.items():
        row, values = case.quality[name], [case.primary(own) for own in case.seeds(name)]
        assert row["deployed"] == near(case.primary(path))
        assert row[key] == near(plain.mean(values))
        assert row.get(f"{key}_std") == (None if name in evaluate.SINGLE else near(plain.stdev(values)))
    assert len({case.quality[name][end] for name in onnx_model.DEPLOYED for end in (key, "deployed")}) == 8


def test_what_ships_is_the_int8_file(case):
    key, shipped = case.quality["test"]["primary"], case.quality["shipped"]
    assert shipped[key] == case.quality["int8"]["deployed"] != case.quality["int8"][key]
    actual, predicted = case.pooled(onnx_model.DEPLOYED["int8"])
    assert shipped["mcc"] == near(metrics.matthews_corrcoef(actual, predicted))
    assert not [name for name in shipped if name.endswith(("_std", "_low", "_high"))]


def test_gains_are_of_the_student_over_the_baseline(case):
    table = case.quality["distillation"]
    teacher, baseline, student, int8 = (plain.mean(map(case.primary, case.seeds(name)))
                                        for name in ("teacher", "baseline", "student", "int8"))
    assert table["gain"] == near(student - baseline) and table["int8_drop"] == near(student - int8)
    assert table["gap_recovered"] == pytest.approx(100 * (student - baseline) / (teacher - baseline), abs=1e-3)
    assert min(student - baseline, student - int8, teacher - student) > 1


def test_the_deployed_student_is_paired_with_the_deployed_baseline(case):
    table = case.quality["distillation"]
    baseline, student, teacher = (case.units(onnx_model.DEPLOYED[name]) for name in ("baseline", "student", "teacher"))
    if case.task == "classification":
        first, second = (np.array([actual[0] == predicted[0] for actual, predicted in own]) for own in (
            baseline, student))
        counts = metrics.confusion_matrix(first, second)
        assert table["p_value"] == near(mcnemar(counts, exact=True).pvalue)
        first, second = 100 * first, 100 * second
    else:
        first, second = (np.array([100 * metrics.jaccard_score(*unit, labels=np.unique(unit[0]), average="macro")
                                   for unit in own]) for own in (baseline, student))
        assert table["p_value"] == near(scipy.stats.wilcoxon(first, second).pvalue)
    assert table["paired_gain"] == near(np.mean(second - first)) and table["paired_gain"] > 1
    low, high = statistics.interval(statistics.resample(
        {"one": [(second - first)[:, None].astype(float)]}, lambda sums: sums[..., 0] / len(first), 200, 0)["one"])
    assert [table["paired_gain_low"], table["paired_gain_high"]] == [near(low), near(high)]
    agreement = np.mean(np.concatenate([one[1] == other[1] for one, other in zip(student, teacher, strict=True)]))
    assert table["teacher_agreement"] == near(100 * agreement)


def test_intervals_are_of_all_seeds_and_of_differences_within_a_draw(case):
    score_of = (class_scores if case.task == "classification" else mask_scores).score_of
    draws = statistics.resample({name: list(map(case.stats, case.seeds(name))) for name in onnx_model.DEPLOYED},
                                score_of, 200, 0)
    key, table = case.quality["test"]["primary"], case.quality["distillation"]
    for name in onnx_model.DEPLOYED:
        low, high = np.clip(statistics.interval(draws[name]), 0, 100)
        assert [case.quality[name][f"{key}_low"], case.quality[name][f"{key}_high"]] == [near(low), near(high)]
    for name, first, second in (("gain", "baseline", "student"), ("int8_drop", "int8", "student")):
        low, high = np.clip(statistics.interval(draws[second] - draws[first]), -100, 100)
        assert [table[f"{name}_low"], table[f"{name}_high"]] == [near(low), near(high)]
    ends = statistics.ratio_interval(draws["student"] - draws["baseline"], draws["teacher"] - draws["baseline"])
    assert [table.get("gap_recovered_low"), table.get("gap_recovered_high")] == (
        [None, None] if ends is None else [near(end) for end in ends])


def test_accuracy_where_the_teacher_errs_is_a_mean_over_seeds(case):
    actual, teacher = case.pooled(onnx_model.DEPLOYED["teacher"])
    assert case.quality["test"]["teacher_errors"] == (actual != teacher).sum() > 0
    for name in ("baseline", "student", "int8"):
        values = [100 * (case.pooled(path)[1] == actual)[actual != teacher].mean() for path in case.seeds(name)]
        assert case.quality[name]["where_teacher_errs"] == near(np.mean(values))
        assert case.quality[name]["where_teacher_errs_std"] == near(np.std(values, ddof=1))
    small = case.pooled(onnx_model.DEPLOYED["teacher_int8"])[1]
    assert case.quality["teacher_int8"]["where_teacher_errs"] == near(100 * (small == actual)[actual != teacher].mean())
    assert "where_teacher_errs" not in case.quality["teacher"]


def test_a_teacher_without_errors_leaves_nothing_to_be_right_about(case):
    test = evaluate.TestSplit(SETTINGS, class_scores if case.task == "classification" else mask_scores)
    test.predict(onnx_model.DEPLOYED["teacher"])
    object.__setattr__(test.teacher, "errors", lambda: 0)  # frozen
    assert "where_teacher_errs" not in test.result(onnx_model.DEPLOYED["student"]).scores


def test_the_table_tells_of_the_test(case):
    words = (class_scores if case.task == "classification" else mask_scores).WORDS
    images = 300 if case.task == "classification" else 6
    assert {"images": images, "seeds": 3, "resamples": 200, **words}.items() <= case.quality["test"].items()
    key = words["primary"]
    assert case.printed == "evaluate: " + ", ".join(
        f"{name} {case.quality[name][key]:.2f} %" for name in onnx_model.DEPLOYED)


def test_plots_are_of_the_deployed_files(case):
    for name, path in ((name, onnx_model.DEPLOYED[name]) for name in evaluate.DRAWN):
        counts = metrics.confusion_matrix(*case.pooled(path), labels=range(4))
        rows = [row for row in files.read_csv(evaluate.PLOTS / "classes.csv") if row["model"] == name]
        recall = [100 * counts[label, label] / max(1, counts[label].sum()) for label in range(4)]
        assert [float(row["recall"]) for row in rows] == pytest.approx(recall, abs=0.006)
        assert [int(row["support"]) for row in rows] == counts.sum(1).tolist()
    errors = sum(int(row["images" if case.task == "classification" else "pixels"])
                 for row in files.read_csv(evaluate.PLOTS / "confused.csv"))
    actual, predicted = case.pooled(onnx_model.DEPLOYED["int8"])
    assert errors == (actual != predicted).sum()
    assert {path.name for path in evaluate.CONFUSED.iterdir()} == (
        {"pairs.png"} if case.task == "classification" else {"none.txt"})


def test_a_file_runs_once_however_often_it_lies_there(case, monkeypatch):
    scores = class_scores if case.task == "classification" else mask_scores
    test, ran = evaluate.TestSplit(SETTINGS, scores), []
    monkeypatch.setattr(onnx_model, "open_model",
                        lambda path, threads, real=onnx_model.open_model: ran.append(path) or real(path, threads))
    for path in (onnx_model.DEPLOYED["teacher"], onnx_model.DEPLOYED["student"], onnx_model.SEEDS / "student-2.onnx",
                 onnx_model.SEEDS / "student-1.onnx", onnx_model.SEEDS / "student-1.onnx"):
        test.result(path)
    assert ran == [onnx_model.DEPLOYED["teacher"], onnx_model.DEPLOYED["student"], onnx_model.SEEDS / "student-1.onnx"]


def test_a_photograph_is_joined_from_its_tiles(case):
    test = evaluate.TestSplit(SETTINGS, class_scores)
    rows = np.flatnonzero(test.windows[:, 0] == 2)
    assert (test.image(2) == tiling.stitch(test.windows[rows], test.tiles[rows])).all()
    assert test.image(2).shape == ((2, 2, 3) if case.task == "classification" else (40, 18, 3))


def test_batches_hold_what_is_asked_for(case):
    test = evaluate.TestSplit(SETTINGS.model_copy(update={"batch_size": 7}), class_scores)
    batches = list(test._batches(lambda images: images))
    assert {len(images) for images, _ in batches[:-1]} == {7} and 0 < len(batches[-1][0]) <= 7
    for number, stored in enumerate((test.tiles, test.targets)):
        assert (np.concatenate([batch[number] for batch in batches]) == stored).all()


def test_missing_seeds_and_other_classes_are_one_line_each(case, monkeypatch):
    with pytest.raises(errors.UserError, match=r"models/seeds holds no other-<seed>\.onnx"):
        evaluate.seed_files("other")
    monkeypatch.setattr(prepared, "classes", lambda: CLASSES[::-1])
    with pytest.raises(errors.UserError, match=r"teacher\.onnx was made for other classes"):
        evaluate.TestSplit(SETTINGS, class_scores).predict(onnx_model.DEPLOYED["teacher"])


@pytest.mark.slow
def test_evaluate_is_the_same_twice_and_in_a_process_of_its_own(case):
    made = [evaluate.QUALITY, *evaluate.CONFUSED.iterdir(), *evaluate.PLOTS.rglob("*.*")]
    before = [path.read_bytes() for path in made]
    done = case.project.run("evaluate")
    assert not done.returncode and done.stderr.splitlines()[-1] == case.printed
    assert [path.read_bytes() for path in made] == before and len(made) > 15


def test_sentences_name_the_metric_and_the_unit(case):
    if case.task == "segmentation":
        assert "distilled student's mean IoU is" in results.gain(case.quality)
        assert "6 test images (Wilcoxon's signed-rank test over the photographs, p = " in results.chance(case.quality)
        assert results.gap(case.quality, 1).endswith("% of the test images' pixels.")


def predictions(right: int, images: int = 300) -> class_scores.Predictions:
    """Of two classes, of which the first so many images are predicted correctly."""
    logits = np.array([[1, 0]] * right + [[0, 1]] * (images - right), np.float32)
    return class_scores.Predictions(logits, np.zeros(images, int))


def test_means_and_deviations_over_seeds():
    assert evaluate.summary([{"f1": 90.0}, {"f1": 92.0}, {"f1": 94.0}]) == {"f1": 92.0, "f1_std": 2.0}
    assert evaluate.summary([{"f1": 90.0}]) == {"f1": 90.0}
    rows = [{"miou": 60.0, "iou": {"sea": 80.0, "land": 40.0}}, {"miou": 64.0, "iou": {"sea": 84.0, "land": 44.0}}]
    table = evaluate.rounded(evaluate.summary(rows))
    assert table == {"miou": 62.0, "miou_std": 2.8284,
                     "iou": {"sea": 82.0, "sea_std": 2.8284, "land": 42.0, "land_std": 2.8284}}
    assert evaluate.summary(rows[:1]) == rows[0]


def distilled(accuracies: dict[str, list[int]]) -> dict[str, float]:
    """The table of models that have so many of 400 images right; each seed errs on the last ones."""
    stats = {name: [np.stack([np.arange(400) < right, np.ones(400)], 1) for right in some]
             for name, some in accuracies.items()}
    draws = statistics.resample(stats, class_scores.score_of, 400, 0)
    quality = {name: {"accuracy": np.mean(some) / 4} for name, some in accuracies.items()}
    return evaluate.distillation(quality, draws, "accuracy", "student")


def test_no_gap_is_no_number():
    table = distilled({name: [300, 310, 290] for name in ("teacher", "baseline", "student", "int8")})
    assert table == {"gain": 0.0, "int8_drop": 0.0}  # no gap_recovered, and no intervals: all are the same


def test_gains_and_gaps_have_intervals():
    table = distilled({"teacher": [380], "baseline": [300, 301, 302], "student": [340, 341, 342],
                       "int8": [338, 339, 340]})
    assert (table["gain"], table["int8_drop"], table["gap_recovered"]) == pytest.approx((10, 0.5, 100 * 40 / 79))
    for name in ("gain", "int8_drop", "gap_recovered"):
        assert table[f"{name}_low"] < table[name] < table[f"{name}_high"]
    assert table["gain_low"] > 6 and table["gain_high"] < 14
    unsure = distilled({"teacher": [303], "baseline": [300, 301, 302], "student": [320, 310, 305],
                        "int8": [320, 310, 305]})
    assert unsure["gap_recovered"] > 100 and not {"gap_recovered_low", "gap_recovered_high"} & set(unsure)


def test_intervals_keep_to_what_there_can_be():
    """Of two seeds or images Student's t, at one degree of freedom, reaches 12.7 standard errors to either side."""
    right = {"teacher": [380], "baseline": [300, 200], "student": [200, 300], "int8": [300, 200]}
    table = distilled(right)  # the seeds' gains are −25 and 25 points: 12.7 · 25 beyond 0
    assert [table[f"{name}_{end}"] for name in ("gain", "int8_drop") for end in ("low", "high")] == [-100, 100] * 2
    draws = np.linspace(-10, 120, 131)
    assert evaluate.interval("f1", draws, evaluate.SHARES) == {"f1_low": 0, "f1_high": 100}
    assert evaluate.interval("f1", draws, evaluate.DIFFERENCES) == pytest.approx({"f1_low": -6.75, "f1_high": 100})
    assert evaluate.interval("f1", np.full(9, 3.0), evaluate.SHARES) == {}
    # 0 and 100 points on two images: 50 ± 50 · 9.2
    first, second = predictions(1, 2), predictions(2, 2)
    table = evaluate.paired(first, second, class_scores, SETTINGS)
    assert (table["paired_gain_low"], table["paired_gain_high"]) == (-100, 100)


def test_the_deployed_pair():
    first, second = predictions(200), predictions(230)
    table = evaluate.paired(first, second, class_scores, SETTINGS)
    assert table["paired_gain"] == pytest.approx(10) and table["p_value"] == pytest.approx(2 / 2**30)
    assert (table["paired_gain_low"], table["paired_gain_high"]) == pytest.approx(
        (10 - 1.97 * 100 * (0.09 / 300)**0.5, 10 + 1.97 * 100 * (0.09 / 300)**0.5), abs=0.8)
    assert evaluate.paired(first, first, class_scores, SETTINGS) == {"p_value": 1.0, "paired_gain": 0.0}


def test_last_bits_and_signs_of_zero_are_rounded_away():
    assert str(evaluate.rounded({"int8": {"ece": 1.23456, "drop": -1e-9}, "seeds": 3})) == (
        "{'int8': {'ece': 1.2346, 'drop': 0.0}, 'seeds': 3}")


@pytest.mark.parametrize("key, value", [("batch_size", 0), ("ece_bins", 0), ("resamples", 99), ("seed", -1)])
def test_settings_have_lower_limits(key, value):
    assert evaluate.EvaluateParams(**{"batch_size": 1, "ece_bins": 1, "resamples": 100, "seed": 0})
    with pytest.raises(ValueError, match=key):
        evaluate.EvaluateParams(**SETTINGS.model_dump() | {key: value})
