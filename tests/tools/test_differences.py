"""Tables of what differs."""

import re

import finished

from tools.comparison import differences, metric_values


def rows(path: str, **pairs) -> list[str]:
    names = {name.replace("__", "."): pair for name, pair in pairs.items()}
    return differences.metrics_tables({path: names}, "main")[path == differences.SPEED].splitlines()[2:]


def test_a_metric_stands_in_one_row_with_its_std_and_interval():
    assert rows("metrics/quality.json", int8__f1=(98.3287, 98.7001), int8__f1_std=(0.0, 0.4255),
                int8__f1_low=(None, 97.5), int8__f1_high=(None, 99.6)) == [
        "| quality | `int8.f1` | 98.33 ± 0.00 | 98.70 ± 0.43 [97.50, 99.60] | +0.37 |"]


def test_a_changed_std_alone_is_a_row():
    assert rows("metrics/quality.json", int8__f1=(98.0, 98.0), int8__f1_std=(0.1, 0.2)) == [
        "| quality | `int8.f1` | 98.00 ± 0.10 | 98.00 ± 0.20 | 0 |"]


def test_new_gone_and_worded_metrics():
    assert rows("metrics/verify.json", a=(None, 1.5), b=(2, None), c=("int8", "fp16 weights"), d=(True, False)) == [
        "| verify | `a` | – | 1.50 |  |", "| verify | `b` | 2 | – |  |",
        "| verify | `c` | `int8` | `fp16 weights` |  |", "| verify | `d` | true | false |  |"]


def test_decimals_grow_until_a_difference_shows():
    assert rows("metrics/size.json", ratio=(70.6712, 70.6749), images=(359, 360)) == [
        "| size | `images` | 359 | 360 | +1 |", "| size | `ratio` | 70.671 | 70.675 | +0.004 |"]


def test_each_class_has_a_row_of_its_own_whatever_it_is_called():
    """Two counts of a finished run and two scores are changed."""
    counts, quality = (metric_values.flat(finished.read(kind, path)) for kind, path in (
        ("classes", "metrics/data.json"), ("masks", "metrics/quality.json")))
    now = {"metrics/data.json": counts | {"after.train.gull": 11, "after.train.gull_std": 10, "after.train.=a|b": 9},
           "metrics/quality.json": quality | {"int8.iou.house": 30.0, "int8.iou.house_std": 50.0}}
    before = {"metrics/data.json": counts, "metrics/quality.json": quality}
    table, _ = differences.metrics_tables({path: {name: (before[path][name], value) for name, value in side.items()}
                                           for path, side in now.items()}, "main")
    house, other, std = (quality[f"int8.iou.{name}"] for name in ("house", "house_std", "house_std_std"))
    assert table.splitlines()[2:] == [
        f"| quality | `int8.iou.house` | {house:.2f} | 30.00 | {30 - house:+.2f} |",
        f"| quality | `int8.iou.house_std` | {other:.2f} ± {std:.2f} | 50.00 ± {std:.2f} | {50 - other:+.2f} |",
        "| data | `after.train.=a\\|b` | 12 | 9 | -3 |", "| data | `after.train.gull` | 12 | 11 | -1 |",
        "| data | `after.train.gull_std` | 12 | 10 | -2 |"]


def test_quality_comes_first_its_leading_score_at_the_top_and_what_is_timed_apart():
    pairs = {"metrics/data.json": {"images.found": (1, 2)}, "metrics/mine.json": {"x": (1, 2)},
             "metrics/quality.json": {"test.primary": ("miou", "miou"), "int8.ece": (1.0, 2.0), "int8.miou": (5.0, 6.0),
                                      "teacher.miou": (5.0, 5.0)},
             "metrics/timing/distill.json": {"seconds": (1.0, 2.0)},
             "metrics/speed.json": {"int8.latency_ms": (1.0, 2.0)}}
    repeated, timed = differences.metrics_tables(pairs, "main")
    assert re.findall(r"^\| (\w+) \| `(\S+)`", repeated, re.M) == [
        ("quality", "int8.miou"), ("quality", "int8.ece"), ("data", "images.found"), ("mine", "x")]
    assert re.findall(r"^\| (\w+) \| `(\S+)`", timed, re.M) == [("speed", "int8.latency_ms"), ("distill", "seconds")]


def test_a_long_table_is_cut():
    long = differences.table(("a",), [(str(number),) for number in range(differences.MAX_ROWS + 7)])
    assert long.count("\n| ") == differences.MAX_ROWS + 1 and long.endswith("… and 7 rows more.")


def test_any_text_as_code_on_one_line():
    assert differences.code("a b") == "`a b`"
    assert differences.code("a`b") == "`` a`b ``" and differences.code("``") == "``` `` ```"
    assert differences.code("a\n\n# b") == "`a # b`"
