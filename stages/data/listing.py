"""The samples of an archive, as a layout lists them. A layout is a module of stages/data/layouts with

    samples(names, read)                   for each image a Sample; `samples(names, read, options)` where it has options
    recognise(names, read) -> dict | None  the options with which it reads this archive; None: it is laid out otherwise
    Options                                a params.Section of its options, if it has any

names: of all files of the archive. read: the content of one. `data.layout_options` of params.yaml holds the options
that shall not be as recognised.
"""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

from stages.core import params
from stages.core.errors import UserError
from stages.data.sample import Sample

Read = Callable[[str], bytes]


def list_samples(layout: ModuleType, names: Sequence[str], read: Read, given: Mapping[str, object]) -> list[Sample]:
    """Sorted by path. given: `data.layout_options`. Raises UserError for options that don't fit, or without images."""
    arguments = _options(layout, names, read, given)
    samples = sorted(layout.samples(names, read, *arguments))
    if not samples:
        raise UserError(f"data/raw.zip holds no images where the layout {_name(layout)} looks for them; "
                        f"see stages/data/layouts/{_name(layout)}.py, or choose another data.layout")
    return samples


def check_given(layout: ModuleType, given: Mapping[str, object]) -> None:
    """Before there is an archive. given: `data.layout_options`. Raises UserError for options that the layout lacks,
    and for values that don't fit.
    """
    if hasattr(layout, "Options"):
        params.check_given(layout.Options, dict(given), f"{params.FILE}: data.layout_options")
    elif given:
        raise UserError(f"{params.FILE}: data.layout_options holds {', '.join(given)}, but the layout "
                        f"{_name(layout)} has no options; set it to {{}}")


def _options(layout: ModuleType, names: Sequence[str], read: Read, given: Mapping[str, object]) -> list[params.Section]:
    """The layout's options in a list, which is empty where it has none."""
    check_given(layout, given)
    if not hasattr(layout, "Options"):
        return []
    fields = layout.Options.model_fields
    missing = [key for key, field in fields.items() if field.is_required() and key not in given]
    recognised = layout.recognise(names, read) if missing else {}
    if recognised is None:
        raise UserError(f"data/raw.zip does not show how the layout {_name(layout)} shall read it; choose another "
                        f"data.layout, or set in data.layout_options: {', '.join(missing)} (see "
                        f"stages/data/layouts/{_name(layout)}.py)")
    return [params.parse(layout.Options, recognised | dict(given), f"{params.FILE}: data.layout_options")]


def _name(layout: ModuleType) -> str:
    return layout.__name__.rpartition(".")[2]
