"""From the raw data to what a network sees. In: metrics/data.json, params.yaml as mappings, data/prepared/index.csv.
Out: sentences.
"""

from collections.abc import Mapping, Sequence

from stages.data.image_size import height_and_width, pixels_text
from stages.data.prepared import SPLITS
from stages.reporting.numbers import counted, few, listed


def cleaning(data: Mapping) -> str:
    images = data["images"]
    return (f"{images['found']} images were found and {images['dropped'] or 'none'} of them left out; "
            "`data/decisions.csv` lists each finding, what was done about it, and why.")


def only_reported(data: Mapping) -> dict[str, int]:
    """How many findings of each kind were reported, but not acted on."""
    return {kind: count - data["acted_on"].get(kind, 0) for kind, count in data["findings"].items()}


def is_telling(data: Mapping, clean: Mapping) -> bool:
    """Whether the out-of-fold predictions are good enough for their doubts to mean something. clean: that section."""
    return "labels" not in data or data["labels"]["out_of_fold_accuracy"] >= clean["min_accuracy"]


def counted_findings(data: Mapping, clean: Mapping) -> dict[str, int]:
    """How many findings of each kind there are, kinds without any left out, and doubts about labels that tell nothing.
    """
    return {kind: count for kind, count in data["findings"].items()
            if count and (kind != "label_suspect" or is_telling(data, clean))}


def reported(data: Mapping, clean: Mapping) -> str:
    """Empty where every finding was acted on."""
    left, kinds = only_reported(data), counted_findings(data, clean)
    count = sum(left[kind] for kind in kinds)
    return (f"Findings that were only reported: {count}; section `clean` of `params.yaml` sets which kinds are acted "
            "on." if count else "")


def copies(data: Mapping) -> str:
    """Which other images are like those of val and test, as the end of a sentence; empty where none are."""
    left = only_reported(data)
    across = left["leak"] + left["near_leak"]
    like = "is an exact or near copy" if across == 1 else "are exact or near copies"
    return f" (but {counted(across, 'image')} of other splits {like} of val or test images)" if across else ""


def labels(data: Mapping, clean: Mapping) -> str:
    """How far suspected label errors can be trusted; empty where labels were not checked."""
    if "labels" not in data:
        return ""
    worth = ("its doubts about the others can be trusted only that far." if is_telling(data, clean) else
             f"below {clean['min_accuracy']:g} % (`clean.min_accuracy`) its doubts about the others say next to "
             "nothing, and are not counted here.")
    return (f"A simple classifier predicted {data['labels']['out_of_fold_accuracy']:.1f} % of "
            f"{counted(data['labels']['judged'], 'label')} correctly without having seen them in training (its "
            f"out-of-fold accuracy); {worth}")


def balance(data: Mapping) -> str:
    """Of the images that training draws from; empty where images have no single class."""
    after = data["after"]
    counts = after["train"] if "train" in after else after["undivided"]
    if len(counts) < 2:
        return ""
    low, high = min(counts.values()), max(counts.values())
    where = " in train" if "train" in after else ""
    if low == high:
        return f"After cleaning, every class has {counted(high, 'image')}{where}."
    smallest, largest = (few([name for name, count in counts.items() if count == end]) for end in (low, high))
    return (f"After cleaning, the classes have between {low} ({smallest}) and {high} ({largest}) images{where}, a "
            f"ratio of {high / low:.1f}.")


def sizing(split: Mapping) -> str:
    side = pixels_text(split["image_size"])
    height, width = height_and_width(split["image_size"])
    cropped = (f"The central square of each image is resized to {side}." if height == width else
               f"The largest central part of each image with the aspect ratio {width}:{height} is resized to {side}.")
    if split["resize"] == "tiles":
        scale = "" if split["scale"] == 1 else f"scaled to {100 * split['scale']:g} % of their size, then "
        return (f"Images are {scale}cut into tiles of {side}, which overlap by at least {split['overlap']} pixels; the "
                "tiles' predictions are joined again, so that whole images are scored.")
    return {"squash": f"Each image is resized to {side}, whatever its aspect ratio.",
            "crop": cropped}[split["resize"]]


def drawn(data: Mapping, split: Mapping) -> str:
    """Which splits the source has and which are drawn."""
    given = [f"`{name}`" for name in ("val", "test") if name in data["before"]]
    own = [name for name in ("test", "val") if name not in data["before"]]
    parts = [f"The source provides {listed(given)}."] if given else []
    if own:
        totals = ("of the other images",) if given else ("of all", "of the rest")
        shares = "; then ".join(f"`{name}`, {100 * split[f'{name}_fraction']:g} % {total}"
                                for name, total in zip(own, totals, strict=True))
        parts.append(f"Drawn here, rounded to whole images: {shares} (`split.seed` {split['seed']}, `split.fold` "
                     f"{split['fold']}).")
        if "groups" in data:
            parts.append(_kept_whole(data, split[f"{own[0]}_fraction"]))
    return " ".join(parts)


def _kept_whole(data: Mapping, fraction: float) -> str:
    """What the groups prevent: the share of images drawn one by one of which not all others of the group were drawn.

    fraction: of the split that is drawn first.
    """
    groups, after = data["groups"], data["after"]
    images = sum(sum(after.get(name, {}).values()) for name in ("undivided", "train"))
    leaks = sum(count * int(size) * (1 - fraction ** (int(size) - 1)) for size, count in groups["sizes"].items())
    return (f"{counted(groups['images'], 'image')} are in {counted(groups['groups'], 'group')} "
            f"({groups['of_copies'] or 'none'} of them of exact or near copies), and no group is divided between "
            f"splits: had images been drawn one by one, about {min(100, 100 * leaks / images):.0f} % of the drawn ones "
            "would have had one of their group in another split.")


def unlabelled(splits: Sequence[tuple[str, int, int]], split: Mapping, distill: Mapping) -> str:
    """Empty where every image has its label. splits: as `table` returns them."""
    count = unlabelled_count(splits)
    share = (f" (only {100 * split['labelled_fraction']:g} % of the training labels are used)"
             if split["labelled_fraction"] < 1 else "")
    use = "on them, it learns from the teacher alone" if distill["unlabelled"] else "it does not use them"
    return f"Images without a label for the student: {count}{share}; {use}." if count else ""


def augmentation(who: str, augment: Mapping) -> str:
    """How the training images of `who` are augmented."""
    ways = [{"none": "", "pad": f"padded by {augment['padding']} reflected pixels on each side and randomly cropped",
             "resized": f"cropped to a random area of at least {100 * augment['min_area']:g} % and resized"}[
                 augment["crop"]],
            "mirrored half of the time" if augment["flip"] else "",
            "rotated by multiples of 90°" if augment["turns"] else "",
            f"changed in brightness, contrast and saturation by up to {100 * augment['colour']:g} %"
            if augment["colour"] else ""]
    return f"Training images of {who} are {listed([way for way in ways if way] or ['not augmented'])}."


def table(index: Sequence[Mapping[str, str]]) -> list[tuple[str, int, int]]:
    """(split, images, tiles) of each split that has any."""
    rows = [(name, [int(row["windows"]) for row in index if row["split"] == name]) for name in SPLITS]
    return [(name, len(tiles), sum(tiles)) for name, tiles in rows if tiles]


def unlabelled_count(splits: Sequence[tuple[str, int, int]]) -> int:
    return sum(images for name, images, _ in splits if name == "unlabelled")
