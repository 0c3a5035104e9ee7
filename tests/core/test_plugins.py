"""A module is chosen by the name of its file."""

import pytest

from stages.core import plugins
from stages.core.errors import UserError


def test_modules_by_name():
    layout = plugins.module("data/layouts/*", "image_folder", "data.layout")
    metric = plugins.module("tasks/*/metric", "segmentation", "data.task")
    assert layout.__name__ == "stages.data.layouts.image_folder"
    assert metric.__name__ == "stages.tasks.segmentation.metric"


@pytest.mark.parametrize("name", ["guessing", "", "__init__", "../core/params"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UserError, match=r"^params.yaml: data.task is '.*'; known: classification, segmentation .*"):
        plugins.module("tasks/*/labels", name, "data.task")
