"""The table of several sets, from what the stages really wrote."""

import finished
import pytest

from benchmarks import sets


@pytest.mark.parametrize("kind", ["classes", "masks"])
def test_a_row_is_what_the_run_measured(kind):
    cells = dict(zip(["set", "images", "small", "small MB", "small ms", "teacher", "baseline", "student", "gain",
                      "int8", "MB", "ms"], sets.row(finished.run(kind).folder), strict=True))
    quality, size = (finished.read(kind, f"metrics/{name}.json") for name in ("quality", "size"))
    score = quality["test"]["primary"]
    assert cells["set"] == kind and int(cells["images"]) == quality["test"]["images"]
    assert cells["teacher"] == f"{quality['teacher'][score]:.2f}"
    assert cells["student"].startswith(f"{quality['student'][score]:.2f}")
    assert [cells["MB"], cells["small MB"]] == [f"{size[name]['size_mb']:.2f}" for name in ("int8", "teacher_int8")]
    low = quality["distillation"]["gain_low"]
    assert f"({low:.2f}".replace("-", "−") in cells["gain"]
