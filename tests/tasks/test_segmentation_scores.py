"""Scores of a segmenter against values worked out by hand, against scikit-learn, and through `evaluate`."""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from conftest import Project
from measurements import NO_FINDINGS
from onnx import TensorProto, helper
from sklearn import metrics
from torchmetrics.functional import classification as torch_metrics

from stages import evaluate, report
from stages.core import files
from stages.data import prepared, tiling
from stages.data.prepared import IGNORED, UNLABELLED
from stages.data.tiling import Sizing
from stages.deployment import onnx_model
from stages.evaluation import calibration, confusion, plotting, statistics
from stages.reporting import results
from stages.tasks.classification import scores as class_scores
from stages.tasks.segmentation import figures as plots
from stages.tasks.segmentation import scores as mask_scores
from stages.tasks.segmentation.metric import Score

CLASSES = ["sea", "land", "boat", "gull, far"]


def onehot(maps: np.ndarray, sure: float = 4.0, classes: int = len(CLASSES)) -> np.ndarray:
    """Integers (N,H,W) → logits (N,C,H,W) that say just that."""
    return sure * (maps[:, None] == np.arange(classes)[:, None, None]).astype(np.float32)


def collect(logits: np.ndarray, targets: np.ndarray, batch: int = 2) -> mask_scores.Predictions:
    """Each square (N,C,S,S) is a picture of its own."""
    batches = ((logits[start:start + batch], targets[start:start + batch]) for start in range(0, len(logits), batch))
    places = np.array([(number, 0, 0, *targets.shape[1:]) for number in range(len(targets))], np.int32)
    return mask_scores.collect(batches, places)


def random_answers(seed: int, pictures: int = 5, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are often right, and targets that lack class 3 and are partly ignored."""
    random = np.random.default_rng(seed)
    targets = np.random.default_rng(0).integers(0, 3, (pictures, side, side)).astype(np.int16)
    logits = random.normal(size=(pictures, 4, side, side)).astype(np.float32) + onehot(targets, 1.5)
    targets[:, :2], targets[:, 2, :5] = IGNORED, UNLABELLED
    return logits, targets


def measure(answers: mask_scores.Predictions, bins: int = 10) -> dict:
    return mask_scores.measure(answers, CLASSES, bins)


def paired(first: mask_scores.Predictions, second: mask_scores.Predictions) -> dict[str, float]:
    settings = evaluate.EvaluateParams(batch_size=1, ece_bins=10, resamples=100, seed=0)
    return evaluate.paired(first, second, mask_scores, settings)


def test_by_hand():
    # Six sea pixels, of which four are found and two are called land; two of land, one of them called a gull.
    targets = np.array([[[0, 0, 0, 0], [0, 0, 1, 1], [IGNORED] * 4, [UNLABELLED] * 4]])
    said = np.array([[[0, 0, 0, 0], [1, 1, 1, 3], [2] * 4, [3] * 4]])
    table = measure(collect(onehot(said), targets))
    assert table["iou"] == pytest.approx({"sea": 100 * 4 / 6, "land": 100 * 1 / 4})  # TP / (TP + FP + FN)
    assert table["miou"] == pytest.approx(100 * (4 / 6 + 1 / 4) / 2)
    assert table["pixel_accuracy"] == pytest.approx(100 * 5 / 8)
    assert table["precision"] == pytest.approx(100 * (4 / 4 + 1 / 3) / 2)
    assert table["recall"] == pytest.approx(100 * (4 / 6 + 1 / 2) / 2)
    assert table["f1"] == pytest.approx(100 * (8 / 10 + 2 / 5) / 2)
    sure = np.exp(4) / (np.exp(4) + 3)
    assert table["ece"] == pytest.approx(100 * (sure - 5 / 8))
    assert table["log_loss"] == pytest.approx(-(5 * np.log(sure) + 3 * np.log((1 - sure) / 3)) / 8)
    other = (1 - sure) / 3
    assert table["brier"] == pytest.approx(
        (5 * ((1 - sure)**2 + 3 * other**2) + 3 * (sure**2 + (1 - other)**2 + 2 * other**2)) / 8)
    assert table["precision_weighted"] == pytest.approx(100 * (6 * 4 / 4 + 2 * 1 / 3) / 8)
    assert table["recall_weighted"] == table["pixel_accuracy"]
    assert table["f1_weighted"] == pytest.approx(100 * (6 * 8 / 10 + 2 * 2 / 5) / 8)
    # Shown 6, 2, 0, 0 times, said 4, 3, 0, 1 times.
    assert table["mcc"] == pytest.approx((8 * 5 - (6 * 4 + 2 * 3)) / np.sqrt((64 - 36 - 4) * (64 - 16 - 9 - 1)))


def test_iou_is_of_the_sums_over_all_pictures_and_not_their_mean():
    targets = np.array([[[0, 0], [0, 0]], [[0, 1], [1, 1]]])
    said = np.array([[[0, 0], [0, 1]], [[0, 0], [1, 1]]])
    assert measure(collect(onehot(said), targets))["iou"] == pytest.approx({"sea": 100 * 4 / 6, "land": 100 * 2 / 4})


@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(seed):
    logits, targets = random_answers(seed)
    answers, valid = collect(logits, targets), targets >= 0
    actual, predicted = targets[valid], logits.argmax(1)[valid]
    assert (answers.confusion == metrics.confusion_matrix(actual, predicted, labels=range(4))).all()
    table, present = measure(answers), [0, 1, 2]
    iou = metrics.jaccard_score(actual, predicted, labels=present, average=None)
    assert list(table["iou"].values()) == pytest.approx(list(100 * iou)) and "gull, far" not in table["iou"]
    *columns, _ = metrics.precision_recall_fscore_support(actual, predicted, labels=present, average="macro")
    assert [table[name] / 100 for name in ("precision", "recall", "f1")] == pytest.approx(columns)
    assert table["miou"] == pytest.approx(100 * iou.mean())
    assert table["pixel_accuracy"] == pytest.approx(100 * metrics.accuracy_score(actual, predicted))
    *columns, _ = metrics.precision_recall_fscore_support(actual, predicted, labels=present, average="weighted")
    assert [table[f"{name}_weighted"] / 100 for name in ("precision", "recall", "f1")] == pytest.approx(columns)
    assert table["mcc"] == pytest.approx(metrics.matthews_corrcoef(actual, predicted))
    assert answers.errors() == (actual != predicted).sum()
    pixels = torch.from_numpy(np.moveaxis(logits, 1, -1)[valid]), torch.from_numpy(actual.astype(np.int64))
    assert table["miou"] == pytest.approx(
        100 * float(torch_metrics.multiclass_jaccard_index(*pixels, 4, average="none")[:3].mean()), rel=1e-5)
    ece = torch_metrics.multiclass_calibration_error(*pixels, 4, n_bins=10, norm="l1")
    assert table["ece"] == pytest.approx(100 * float(ece), rel=1e-4)


@pytest.mark.parametrize("counts", [[[3, 0], [2, 0]], [[4, 1], [0, 0]], [[5, 0], [0, 0]]])
def test_matthews_is_0_where_one_class_is_all(counts):
    assert confusion.matthews(np.array(counts)) == 0


def test_where_the_teacher_errs():
    targets = np.array([[[0, 0], [1, IGNORED]], [[2, 2], [2, 2]]])
    teacher, student = (collect(onehot(np.array(said)), targets) for said in (
        [[[1, 0], [0, 0]], [[2, 1], [1, 2]]], [[[0, 1], [0, 1]], [[1, 2], [0, 2]]]))
    assert teacher.errors() == 4
    assert student.accuracy_where_wrong(teacher) == 50
    assert student.accuracy_where_wrong(collect(onehot(targets), targets)) is None


def test_a_tally_is_the_confusion_of_photographs_that_count():
    logits, targets = random_answers(0)
    targets[2] = IGNORED
    answers = collect(logits, targets)
    tally = mask_scores.sufficient_stats(answers)
    assert tally.shape == (4, 16)
    assert mask_scores.score_of(tally.sum(0)) == pytest.approx(measure(answers)["miou"])
    assert mask_scores.score_of(tally)[1] == pytest.approx(100 * confusion.mean_iou(answers.confusions[1]))


def test_precision_and_recall_are_those_of_a_sample_of_pixels():
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, (6, 110, 110)).astype(np.int16)
    logits = random.normal(size=(6, 4, 110, 110)).astype(np.float32) + onehot(targets, 1.5)
    pixels = class_scores.Predictions(np.moveaxis(logits, 1, -1).reshape(-1, 4), targets.ravel().astype(int))
    expected, found = (-float(np.sum(np.diff(recall) * precision[:-1])) for recall, precision in (
        class_scores.precision_recall(pixels), mask_scores.precision_recall(collect(logits, targets))))
    assert found == pytest.approx(expected, abs=0.02)  # area under the curve, of every 31st of 72,600 pixels


@pytest.mark.parametrize("bins", [1, 10, 15, 24])
def test_calibration_and_log_loss_are_those_of_a_classifier_of_pixels(bins):
    logits, targets = random_answers(0)
    pixels = class_scores.Predictions(np.moveaxis(logits, 1, -1)[targets >= 0], targets[targets >= 0].astype(int))
    expected = class_scores.measure(pixels, CLASSES, bins)
    found = measure(collect(logits, targets), bins)
    names = ("ece", "log_loss", "brier", "mcc")
    assert [found[name] for name in names] == pytest.approx([expected[name] for name in names], rel=1e-5)
    rows = mask_scores.reliability(collect(logits, targets), bins)
    assert [row.count for row in rows] == [row.count for row in class_scores.reliability(pixels, bins)]
    assert calibration.error(rows) == pytest.approx(expected["ece"] / 100, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_bin_holds_its_upper_end(classes):
    """Of even odds the top probability is 1/2 or 1/4, just between two bins."""
    even = collect(np.zeros((1, classes, 2, 2), np.float32), np.array([[[0, 0], [0, 1]]]))
    assert mask_scores.reliability(even, classes) == [(0, 1 / classes, 4, 1 / classes, 0.75)]


def test_ignored_pixels_change_nothing():
    logits, targets = random_answers(0)
    others = np.where((targets < 0)[:, None], np.random.default_rng(9).normal(0, 9, logits.shape), logits)
    answers, changed = collect(logits, targets), collect(others.astype(np.float32), targets)
    assert measure(answers) == measure(changed) and answers.agreement(changed) == 100
    assert paired(answers, changed) == {"p_value": 1, "paired_gain": 0}
    assert any((one != other).any() for one, other in zip(answers.maps, changed.maps, strict=True))


def test_a_very_sure_model_has_finite_scores():
    table = measure(collect(onehot(np.array([[[0, 1]] * 2]), 1e4), np.array([[[0, 0]] * 2])))
    assert table["log_loss"] == pytest.approx(5e3) and table["ece"] == pytest.approx(50)


def test_agreement_is_of_pixels():
    targets = np.array([[[0, 0], [1, IGNORED]]])
    first, second = (collect(onehot(np.array([said])), targets) for said in ([[0, 1], [2, 0]], [[0, 2], [2, 1]]))
    assert first.agreement(second) == pytest.approx(100 * 2 / 3)


@pytest.mark.parametrize(("differences", "p"), [
    ([1, 2, 3, 4, 5], 2 / 2**5),  # all of one sign: the rarest of 2⁵ ways, on both sides
    ([-1, 2, 3, 4, 5], 2 * 2 / 2**5),  # ranks against sum to 1 or less: none, or the 1
    ([0, 0, 1, 2, 3], 2 / 2**3), ([0, 0, 0], 1), ([1, -1], 1), ([], 1),
])
def test_wilcoxon(differences, p):
    second = np.array(differences, float) / 10 + 0.3
    assert statistics.wilcoxon(np.full(len(second), 0.3), second) == pytest.approx(p)


def test_last_bits_are_no_differences():
    """0.1 + 0.2 is a bit more than 0.3; of five photographs all of which that favours p would be 2 / 2⁵."""
    assert statistics.wilcoxon(np.full(5, 0.3), np.full(5, 0.1 + 0.2)) == 1


def test_the_test_is_over_photographs():
    """Better on all of five, however many pixels they have; one that is ignored altogether doesn't count."""
    targets = np.zeros((6, 8, 8), int)
    targets[5] = IGNORED
    worse = np.zeros_like(targets)
    for number in range(5):
        worse[number, :number + 1] = 1
    first, second = collect(onehot(worse), targets), collect(onehot(targets), targets)
    assert paired(first, second)["p_value"] == pytest.approx(2 / 2**5)
    assert paired(first, first) == {"p_value": 1, "paired_gain": 0}
    # Of 8 rows the first n + 1 are wrong: of the one class that is there, IoU 1 − (n + 1) / 8; in the mean 5 / 8.
    assert paired(first, second)["paired_gain"] == pytest.approx(100 * 3 / 8)


def scored(maps: list[np.ndarray], truths: list[np.ndarray], sizing: Sizing) -> mask_scores.Predictions:
    """Of a model that says `maps`, cut into squares, in batches that end in the middle of a picture."""
    places = [place for number, drawn in enumerate(maps) for place in tiling.places(*drawn.shape, number, sizing)]
    said, targets = (np.concatenate([tiling.cut_mask(drawn, sizing) for drawn in drawings])
                     for drawings in (maps, truths))
    return mask_scores.collect(((onehot(said[start:start + 3]), targets[start:start + 3])
                                 for start in range(0, len(said), 3)), np.array(places))


def test_squares_become_pictures_before_they_are_scored():
    random, sizing = np.random.default_rng(3), Sizing(8, "tiles", 1.0, 3)
    maps = [random.integers(0, 4, size) for size in ((8, 8), (13, 21), (5, 9), (20, 11))]
    truths = [np.where(random.random(drawn.shape) < 0.3, random.integers(-1, 3, drawn.shape), drawn) for drawn in maps]
    found, whole = (scored(maps, truths, sizing) for sizing in (sizing, Sizing(32, "tiles", 1.0, 0)))
    assert (found.confusions == whole.confusions).all()
    assert found.confusion.sum() == sum(int((truth >= 0).sum()) for truth in truths)
    assert all((one == other).all() for one, other in zip(found.maps, maps, strict=True))
    assert all((one == other).all() for one, other in zip(found.masks, truths, strict=True))
    one, other = measure(found), measure(whole)
    assert one.pop("iou") == other.pop("iou") and one == pytest.approx(other)


def test_answers_do_not_depend_on_batches():
    logits, targets = random_answers(1)
    assert measure(collect(logits, targets, 1)) == measure(collect(logits, targets, 5))


def test_training_scores_an_epoch_as_evaluate_does():
    logits, targets = random_answers(2)
    score, table = Score(), measure(collect(logits, targets))
    for start in range(0, len(logits), 2):
        score.update(torch.from_numpy(logits[start:start + 2]), torch.from_numpy(targets[start:start + 2]).long())
    assert score.values() == pytest.approx({name: table[name] for name in ("miou", "pixel_accuracy")})
    assert score.primary == mask_scores.PRIMARY
    unlabelled = Score()
    unlabelled.update(torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), UNLABELLED))
    assert unlabelled.values() == {"miou": 0, "pixel_accuracy": 0}


def test_the_confusion_drawn_is_the_last_models(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(plotting, "confusion", lambda counts, cell, classes, title, path: seen.append((counts, title)))
    targets = np.array([[[0, 0], [1, 1]]])
    models = {name: collect(onehot(np.array([said])), targets) for name, said in (
        ("teacher", [[1, 1], [1, 1]]), ("int8", [[0, 0], [1, 2]]))}
    plots.draw(models, mask_scores, CLASSES, 5, lambda picture: np.zeros((2, 2, 3), np.uint8), tmp_path, tmp_path)
    (counts, title), = seen
    assert counts.tolist() == [[2, 0, 0, 0], [0, 1, 1, 0], [0] * 4, [0] * 4]
    assert title == "int8: 75.00 % of pixels right,\n1 test images"
    assert (tmp_path / "confused.csv").read_text().splitlines()[1:] == ["land,boat,1,50.0"]


def test_tables_and_pictures(tmp_path):
    models = {name: collect(*random_answers(seed)) for seed, name in enumerate(onnx_model.DEPLOYED)}
    photograph = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    for folder in ("once", "again"):
        plots.draw(models, mask_scores, CLASSES, 5, lambda picture: photograph, tmp_path / folder / "test",
                   tmp_path / folder / "confused")
    once, again = ({path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
                   for folder in ("once", "again"))
    assert once == again and {path.as_posix() for path in once} == {
        "confused/none.txt", *(f"test/{name}" for name in (
            "classes.csv", "confused.csv", "confusion.png", "classes.png", "pictures.png", "reliability.png",
            "precision_recall.png", *(f"{table}/{name}.csv" for table in (
                "confusion", "reliability", "precision_recall") for name in models)))}
    counts, answers = np.zeros((4, 4), int), models["int8"]
    for row in files.read_csv(tmp_path / "once/test/confusion/int8.csv"):  # fewer than 5000: all of them
        counts[CLASSES.index(row["actual"]), CLASSES.index(row["predicted"])] += 1
    assert (counts == answers.confusion).all()
    rows = files.read_csv(tmp_path / "once/test/classes.csv")
    assert list(rows[0]) == ["model", "class", "precision", "recall", "f1", "iou", "support"]
    assert [float(row["iou"]) for row in rows[-4:-1]] == pytest.approx(list(measure(answers)["iou"].values()), abs=0.01)
    assert rows[-1]["iou"] == "0.0" and rows[-1]["support"] == "0"
    pixels = [int(row["pixels"]) for row in files.read_csv(tmp_path / "once/test/reliability/int8.csv")]
    assert sum(pixels) == answers.confusion.sum()
    worst = files.read_csv(tmp_path / "once/test/confused.csv")[0]
    errors = answers.confusion * (1 - np.eye(4, dtype=int))
    assert int(worst["pixels"]) == errors.max() == errors[CLASSES.index(worst["actual"]),
                                                          CLASSES.index(worst["predicted"])]


@pytest.mark.parametrize("side", [64, 100])
def test_a_sample_of_pixels_is_even(side):
    """Each column as often as any other, though 5000 samples of 64² · 80 pixels would be just one a row."""
    number = 5000 // side + 2
    rows, columns = (np.broadcast_to(index, (number, side, side)).ravel() for index in np.indices((side, side)))
    step = plots._sampling_step(rows.size)
    sampled = [index[step // 2::step] for index in (rows, columns)]
    assert 0.95 * 5000 < len(sampled[0]) <= 5000
    for counts in (np.bincount(index, minlength=side) for index in sampled):
        assert counts.min() > 0.9 * counts.mean() and counts.max() < 1.1 * counts.mean()


def test_a_table_of_seeds_has_its_deviations_inside():
    rows = [{"miou": 60.0, "iou": {"sea": 80.0, "land": 40.0}}, {"miou": 64.0, "iou": {"sea": 84.0, "land": 44.0}}]
    table = evaluate.rounded(evaluate.summary(rows))
    assert table == {"miou": 62.0, "miou_std": 2.8284, "iou": {"sea": 82.0, "sea_std": 2.8284, "land": 42.0,
                                                               "land_std": 2.8284}}
    assert evaluate.summary(rows[:1]) == rows[0]


def segmenter(seed: int) -> onnx.ModelProto:
    """uint8 (N,S,S,3) → (N,4,S,S): a random matrix from colours to classes."""
    weights = np.random.default_rng(seed).normal(size=(4, 3, 1, 1)).astype(np.float32) / 64
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("Transpose", ["float"], ["first"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["first", "weights"], ["logits"])]
    graph = helper.make_graph(
        nodes, "segmenter", [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "S", "S", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 4, "S", "S"])],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.ravel())])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Project:
    """Three photographs, cut into squares of 16, and models that know colours alone: `evaluate` has run."""
    project = Project(tmp_path_factory.mktemp("evaluated")).set("evaluate.batch_size", 3)
    random, sizing, stored = np.random.default_rng(0), Sizing(16, "tiles", 1.0, 4), project.folder / prepared.FOLDER
    photographs = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((20, 30), (16, 16), (40, 18))]
    masks = [random.integers(0, 3, image.shape[:2]).astype(np.int16) for image in photographs]
    (stored / "test").mkdir(parents=True)
    np.save(stored / "test/images.npy", np.concatenate([tiling.cut_image(image, sizing) for image in photographs]))
    np.save(stored / "test/targets.npy", np.concatenate([tiling.cut_mask(mask, sizing) for mask in masks]))
    np.save(stored / "test/windows.npy", np.array([place for number, mask in enumerate(masks) for place in
                                                   tiling.places(*mask.shape, number, sizing)], np.int32))
    (stored / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES), encoding="utf-8")
    known = {"classes": tuple(CLASSES), "image_size": 16, "resize": "tiles", "scale": 1.0, "overlap": 4,
             "task": "segmentation", "mean": (128.0,) * 3, "std": (64.0,) * 3, "model": "colours",
             "role": "student", "form": "float", "colours": ((0, 0, 0), (230, 159, 0), (86, 180, 233)),
             "weights_sha256": "0" * 64, "settings_sha256": "1" * 64}
    card = onnx_model.Card(**{field.name: known[field.name] for field in dataclasses.fields(onnx_model.Card)})
    networks = {path: number for number, path in enumerate(onnx_model.DEPLOYED.values())}
    networks |= {onnx_model.SEEDS / f"{name}-{seed}.onnx": number + 10 * seed
              for number, name in enumerate(onnx_model.DEPLOYED) if number for seed in (0, 1)}
    for path, seed in networks.items():
        onnx_model.write(segmenter(seed), card, project.folder / path)
    done = project.run("evaluate")
    assert not done.returncode, done.stderr
    return project


def said(path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each photograph the classes of its pixels, actual and predicted by a file."""
    rows, images, targets = (read("test") for read in (prepared.windows, prepared.images, prepared.targets))
    actual, predicted, model = [], [], onnx_model.open_model(path, 1)
    for number in range(3):  # a model that sees single pixels says the same of a photograph as of its squares
        squares = np.flatnonzero(rows[:, 0] == number)
        actual.append(tiling.stitch(rows[squares], targets[squares]).ravel())
        predicted.append(model(tiling.stitch(rows[squares], images[squares])[None]).argmax(1).ravel())
    return actual, predicted


def test_models_are_compared_with_the_right_ones(evaluated, monkeypatch):
    quality = files.read_json(evaluated.folder / "metrics/quality.json")
    monkeypatch.chdir(evaluated.folder)
    told, ious = {}, {}
    for name in ("teacher", "baseline", "student"):
        actual, told[name] = said(onnx_model.DEPLOYED[name])
        ious[name] = [metrics.jaccard_score(*maps, labels=np.unique(maps[0]), average="macro")
                      for maps in zip(actual, told[name], strict=True)]
    found, gain = quality["distillation"], 100 * np.subtract(ious["student"], ious["baseline"])
    assert gain.mean() > 1 and found["paired_gain"] == pytest.approx(gain.mean(), abs=1e-3)
    teacher, baseline, student = (np.concatenate(told[name]) for name in ("teacher", "baseline", "student"))
    agreements = [100 * (one == teacher).mean() for one in (baseline, student)]
    assert abs(np.diff(agreements)) > 1 and found["teacher_agreement"] == pytest.approx(agreements[1], abs=1e-3)
    hard = np.concatenate(actual) != teacher
    for name in ("baseline", "student", "int8"):
        right = [100 * (np.concatenate(said(onnx_model.SEEDS / f"{name}-{seed}.onnx")[1]) == np.concatenate(actual))[
            hard].mean() for seed in (0, 1)]
        assert quality[name]["where_teacher_errs"] == pytest.approx(np.mean(right), abs=1e-3)


def test_intervals_end_where_scores_do(evaluated):
    """The small file's two seeds differ by much: Student's t at one degree of freedom goes far beyond."""
    quality = files.read_json(evaluated.folder / "metrics/quality.json")
    assert (quality["int8"]["miou_low"], quality["int8"]["miou_high"]) == (0, 100)
    assert [quality["distillation"][f"int8_drop_{end}"] for end in ("low", "high")] == [-100, 100]


def test_evaluate_scores_whole_photographs(evaluated, monkeypatch):
    quality = files.read_json(evaluated.folder / "metrics/quality.json")
    errors = quality["test"].pop("teacher_errors")
    assert quality["test"] == {"images": 3, "seeds": 2, "resamples": 2000, **mask_scores.WORDS}
    assert set(quality["student"]["iou"]) == {"sea", "sea_std", "land", "land_std", "boat", "boat_std"}
    assert set(quality["teacher"]["iou"]) == {"sea", "land", "boat"} and "miou_std" not in quality["teacher"]
    assert quality["teacher"]["deployed"] == quality["teacher"]["miou"]
    assert quality["shipped"]["miou"] == quality["int8"]["deployed"] != quality["int8"]["miou"]
    assert set(quality["shipped"]["iou"]) == {"sea", "land", "boat"} and "miou_low" not in quality["shipped"]
    assert quality["distillation"]["gain"] == pytest.approx(quality["student"]["miou"] - quality["baseline"]["miou"],
                                                            abs=1e-3)
    assert 0 < quality["distillation"]["p_value"] <= 1
    monkeypatch.chdir(evaluated.folder)
    actual, predicted = (np.concatenate(photographs) for photographs in said(onnx_model.DEPLOYED["teacher"]))
    expected = metrics.jaccard_score(actual, predicted, labels=range(3), average="macro")
    assert quality["teacher"]["miou"] == pytest.approx(100 * expected, abs=1e-3)
    assert errors == (actual != predicted).sum()
    for name, key in [(name, "miou") for name in onnx_model.DEPLOYED] + [("distillation", "gain"), (
            "distillation", "int8_drop"), ("distillation", "paired_gain")]:
        row = quality[name]
        assert row[f"{key}_low"] <= row[key] <= row[f"{key}_high"]
    assert all("where_teacher_errs_std" in quality[name] for name in ("baseline", "student", "int8"))
    assert "where_teacher_errs" not in quality["teacher"]


def test_evaluate_is_the_same_twice(evaluated):
    made = [evaluated.folder / "metrics/quality.json", evaluated.folder / "data/confused/none.txt",
            *(evaluated.folder / "plots").rglob("*.*")]
    before = [path.read_bytes() for path in made]
    evaluated.run("evaluate")
    assert [path.read_bytes() for path in made] == before and len(made) == 21


def test_sentences_speak_of_mean_iou_and_pixels(evaluated):
    quality = files.read_json(evaluated.folder / "metrics/quality.json")
    assert "distilled student's mean IoU is" in results.gain(quality)
    assert "3 test images (Wilcoxon's signed-rank test over the photographs, p = " in results.chance(quality)
    assert results.gap(quality, 1).endswith("% of the test images' pixels.")


def test_the_page_shows_the_iou_of_each_class_and_the_pictures(evaluated):
    project = evaluated
    (project.folder / "data/raw.zip").write_bytes(b"")
    files.write_json(project.folder / "metrics/data.json",
                      {"images": {"found": 9, "dropped": 0}, "findings": NO_FINDINGS, "acted_on": {},
                       "before": {"undivided": {"": 9}}, "after": {"undivided": {"": 9}}})
    row = {"parameters_m": 1.0, "size_mb": 1.0, "latency_ms": 1.0, "latency_p95_ms": 1.0, "images_per_s": 1.0,
           "peak_memory_mb": 1.0}
    ratio = {"parameters": 1.0, "size": 1.0, "latency": 1.0, "memory": 1.0}
    machine = {"processor": "a", "cores": 1, "system": "b", "onnxruntime": "c", "threads": 1, "python": "d"}
    for name in ("size", "speed"):
        files.write_json(project.folder / f"metrics/{name}.json",
                          dict.fromkeys(report.MODELS, row) | {"ratio": ratio, "machine": machine})
    for stage in report.TIMED:
        files.write_json(project.folder / f"metrics/timing/{stage}.json",
                          {"seconds": 2.0, "images_per_s": 10.0, "device": "cpu", "threads": 2})
    files.write_json(project.folder / "metrics/quantisation.json",
                      {"form": "int8", "float_layers": [], "val": {"drop": 0.1, "max_drop": 0.5}})
    curve = {"seed": 0, "epoch": 1, "learning_rate": 0.1, "loss": 1.0, "cross_entropy": 1.0, "train_score": 50.0,
             "val_loss": 1.0, "val_score": 50.0}
    for name in ("teacher", "baseline", "student"):
        files.write_csv(project.folder / f"plots/{name}.csv", list(curve), [curve, curve | {"epoch": 2}])
    files.write_csv(project.folder / prepared.FOLDER / "index.csv", ("split", "windows"),
                     [{"split": "test", "windows": 4}, {"split": "test", "windows": 9}])
    done = project.run("report")
    assert not done.returncode, done.stderr
    page = (project.folder / "report/report.md").read_text(encoding="utf-8")
    head = ("### IoU of each class, %\n| class | teacher | baseline | student | small student |\n"
            "|---|---:|---:|---:|---:|\n| sea")
    assert head in page
    iou = files.read_json(project.folder / "metrics/quality.json")["int8"]["iou"]
    assert f" | {iou['land']:.2f} ± {iou['land_std']:.2f} |\n| boat |" in page
    for file in ("confusion", "classes", "pictures"):
        assert f"](../plots/test/{file}.png)\n" in page and (project.folder / f"plots/test/{file}.png").is_file()
