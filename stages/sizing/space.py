"""Which students a search looks at: neighbours of the one in params.yaml, in what its model's Options have of depth,
width, stride and stem. In: its options. Out: options.

Of each depth, stride and stem, a family, the widest that fits the budget is the one to train: what it leaves unused is
accuracy given away.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args, get_origin

import pydantic

from stages.core import plugins
from stages.core.errors import UserError

AXES = ("depth", "width", "stride", "stem")
NEAR = 1  # places in a list of choices, either side, that count as neighbours: each family costs some exports
WIDTHS = (1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 1, 5 / 4, 3 / 2, 2)  # shares of the present width
CHANNELS = 4  # a width is a multiple of it, as int8 kernels like it

Options = dict[str, object]  # of section student


def named(options: Mapping[str, object]) -> str:
    """depth 10, width 32, stride 4."""
    return ", ".join(f"{axis} {options[axis]}" for axis in AXES if axis in options)


def families(model: str, present: Options) -> list[list[Options]]:
    """The neighbours, each family from narrow to wide; the present options are in one of them.

    Raises UserError for a model that has none of AXES.
    """
    kind = plugins.module("models/zoo/*", model, "student.model").Options
    axes = {axis: _values(kind, axis, present) for axis in AXES if axis in kind.model_fields}
    if not axes:
        raise UserError(f"params.yaml: student.model {model} has no option of {', '.join(AXES)}, so there is nothing "
                        "to search; use small_resnet or unet")
    widths = axes.pop("width", [None])
    return [[present | dict(zip(axes, values, strict=True)) | ({} if width is None else {"width": width})
             for width in widths] for values in itertools.product(*axes.values())]


def widest(family: Sequence[Options], fits: Callable[[Options], bool]) -> Options | None:
    """The widest of a family that fits, None where none does; by bisection, since what is wider costs more."""
    least, most = 0, len(family)  # the first `least` fit; from `most` on none does
    while least < most:
        middle = (least + most) // 2
        if fits(family[middle]):
            least = middle + 1
        else:
            most = middle
    return family[least - 1] if least else None


def _values(kind: type[pydantic.BaseModel], axis: str, present: Options) -> list:
    """In rising order; those that the Options accept."""
    annotation, own = kind.model_fields[axis].annotation, present[axis]
    if get_origin(annotation) is Literal:
        choices = list(get_args(annotation))
        place = choices.index(own)
        return choices[max(0, place - NEAR):place + NEAR + 1]
    wanted = ({CHANNELS * max(1, round(share * own / CHANNELS)) for share in WIDTHS} | {own} if axis == "width"
              else {own - 1, own, own + 1})
    return sorted(value for value in wanted if _accepted(kind, present | {axis: value}))


def _accepted(kind: type[pydantic.BaseModel], options: Options) -> bool:
    try:
        kind.model_validate(options)
    except pydantic.ValidationError:
        return False
    return True
