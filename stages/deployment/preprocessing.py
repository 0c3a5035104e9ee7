"""What of section `split` the user of a model has to know: how pictures were brought to what it sees."""

from stages.core.params import Section


class Resizing(Section, extra="ignore"):
    """As stages/data/tiling.py has them; stages/split.py says which values are sound."""

    resize: str
    scale: float
    overlap: int
