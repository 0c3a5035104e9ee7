"""Which students a search looks at, and the widest that fits, by hand."""

import pytest

from stages.core.errors import UserError
from stages.sizing import space

RESNET = {"depth": 10, "width": 32, "stride": 4}
WIDTHS = [8, 12, 16, 20, 24, 32, 40, 48, 64]


def test_the_neighbours_of_a_resnet():
    families = space.families("small_resnet", RESNET)
    assert [(family[0]["depth"], family[0]["stride"]) for family in families] == [
        (8, 2), (8, 4), (10, 2), (10, 4), (14, 2), (14, 4)]
    assert all([options["width"] for options in family] == WIDTHS for family in families)
    assert sum(RESNET in family for family in families) == 1


def test_a_small_width_gives_no_width_twice_and_stays_among_them():
    widths = [options["width"] for options in space.families("small_resnet", RESNET | {"width": 6})[0]]
    assert widths == [4, 6, 8, 12]  # quarters of 6 and so on, in steps of four channels


def test_numbers_go_one_up_and_down_within_what_the_model_accepts():
    families = space.families("unet", {"depth": 6, "width": 4, "upsampling": "bilinear"})
    assert [family[0]["depth"] for family in families] == [5, 6]
    assert {options["upsampling"] for family in families for options in family} == {"bilinear"}


def test_a_model_without_widths_has_families_of_one():
    families = space.families("torchvision", {"architecture": "mobilenet_v2", "stem": "small"})
    assert families == [[{"architecture": "mobilenet_v2", "stem": stem}] for stem in ("standard", "small")]


def test_a_model_that_has_nothing_to_search_says_so():
    with pytest.raises(UserError, match="torchvision_segmentation has no option of depth, width, stride, stem"):
        space.families("torchvision_segmentation", {"architecture": "lraspp_mobilenet_v3_large"})


@pytest.mark.parametrize("limit", [0, 8, 11, 12, 39, 64, 99])
def test_the_widest_that_fits_is_found_in_few_measurements(limit):
    asked = []

    def fits(options):
        asked.append(options["width"])
        return options["width"] <= limit

    found = space.widest([{"width": width} for width in WIDTHS], fits)
    assert found == max(({"width": width} for width in WIDTHS if width <= limit), key=lambda one: one["width"],
                        default=None)
    assert len(asked) <= 4


def test_names_tell_students_apart_by_what_is_searched():
    assert space.named({"upsampling": "nearest", "width": 4, "depth": 3}) == "depth 3, width 4"
