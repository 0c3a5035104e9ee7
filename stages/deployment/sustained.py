"""How a deployed file does under sustained load: single images, one after the other, without a pause.

In: a model, an image. Out: images a second, ms, and how much slower it became. A processor that grows hot, or a host
that is shared, slows down after seconds or minutes: the short turns of stages/deployment/latency.py can't show that.
"""

import time
from array import array
from collections.abc import Callable

import numpy as np


def measure(model: Callable[[np.ndarray], object], image: np.ndarray, warmup: int, seconds: float) -> dict[str, float]:
    """`summary` of answers to the image, uint8 (1,H,W,3), for `seconds`, more than 0; `warmup` before don't count."""
    for _ in range(warmup):
        model(image)
    spent, start = array("f"), time.perf_counter()  # four bytes an answer: there may be millions
    end = start
    while end < start + seconds:
        model(image)
        begin, end = end, time.perf_counter()
        spent.append(end - begin)
    return summary(np.frombuffer(spent, np.float32))


def summary(spent: np.ndarray) -> dict[str, float]:
    """spent: seconds of each answer, (N,), N ≥ 1. sustained_images_per_s: over the whole time; sustained_p50_ms, p95,
    p99: percentiles; sustained_slowdown: the median of the last fifth of the answers, by that of the first fifth.
    """
    fifth = max(1, len(spent) // 5)
    percentiles = {f"sustained_p{share}_ms": round(1e3 * float(np.percentile(spent, share)), 4)
                   for share in (50, 95, 99)}
    return {"sustained_images_per_s": round(len(spent) / float(spent.sum(dtype=np.float64)), 1), **percentiles,
            "sustained_slowdown": round(float(np.median(spent[-fifth:]) / np.median(spent[:fifth])), 3)}
