"""Groups of images that a drawn split must not divide: exact and near copies, and the groups of the source that these
connect. In: rows of data/scan.csv that stay, pairs of similar images. Out: those rows with their `group`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stages.cleaning.findings import Row
from stages.data.drawing import COPIES


def grouped(rows: Sequence[Row], similar: Iterable[tuple[str, str, float]]) -> list[Row]:
    """The rows, those of a cluster with one group: the source's, or COPIES and the first path of the cluster.

    similar: `pixels` of two images, and their similarity. Images on their own stay as they are.
    """
    numbers = defaultdict(lambda: len(numbers))  # of `pixels` and of groups of the source
    ties = [(numbers["pixels", row["pixels"]], numbers["group", row["group"]]) for row in rows if row["group"]]
    ties += [(numbers["pixels", one], numbers["pixels", other]) for one, other, _ in similar]
    of_row = [numbers["pixels", row["pixels"]] for row in rows]
    first, second = np.array(ties, int).reshape(-1, 2).T
    cluster = connected_components(coo_array((np.ones(len(ties)), (first, second)), shape=(len(numbers),) * 2),
                                   directed=False)[1]
    members = defaultdict(list)
    for row, number in zip(rows, of_row, strict=True):
        members[cluster[number]].append(row)
    names = {number: min({row["group"] for row in some} - {""}, default=COPIES + min(row["path"] for row in some))
             for number, some in members.items() if len(some) > 1}
    return [row | {"group": names[cluster[number]]} if cluster[number] in names else row
            for row, number in zip(rows, of_row, strict=True)]


def counted(rows: Iterable[Row]) -> dict[str, object]:
    """How many groups there are, how many of them of copies, how many images are in them, and how many of each size."""
    sizes = Counter(row["group"] for row in rows if row["group"])
    by_size = sorted(Counter(sizes.values()).items())
    return {"groups": len(sizes), "of_copies": sum(name.startswith(COPIES) for name in sizes),
            "images": sizes.total(), "sizes": {str(size): count for size, count in by_size}}
