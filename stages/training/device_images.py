"""Augmented views computed on a GPU, of images that lie in its memory where that is large enough.

In: the stored arrays and a counter. Out: uint8 (B,H,W,3) on the device: what stages/data/augmentation.py gives, to the
bit where pixels are moved and interpolated. Colours sum in another order there: a few values in a thousand are off by
one level of 255.
"""

import numpy as np
import torch

from stages.data import augmentation, rng
from stages.data.augmentation import Augment, ImageArrays

COPIED = 2**28  # bytes that are brought to the device at a time


class DeviceImages:
    def __init__(self, images: ImageArrays, device: torch.device, room: int):
        """room: bytes that the stored images may take on the device; where they take more, each batch is sent there."""
        height, width = images.size
        self.images, self.device = images, device
        self.stored = self._copied() if len(images) * height * width * 3 <= room else None  # (N,H,W,3)

    def view(self, samples: np.ndarray, augment: Augment, seed: int, number: int) -> torch.Tensor:
        """View `number` of each image, as `augmentation.view`."""
        draws = rng.uniform(seed, samples, number, augmentation.DRAWS)
        rows, columns, turned = augmentation.geometry(augment, self.images.size, draws)
        move = self._bilinear if augment.crop == "resized" else self._moved
        batch = move(self._batch(samples), rows, columns)
        if augment.turns:
            batch = torch.where(self._sent(turned)[:, None, None, None], batch.transpose(1, 2), batch)
        return _coloured(batch, self._sent(augment.colour * (2 * draws[:, 5:8] - 1))) if augment.colour else batch

    def _copied(self) -> torch.Tensor:
        stored = torch.empty((len(self.images), *self.images.size, 3), dtype=torch.uint8, device=self.device)
        step = max(1, COPIED // stored[0].numel())
        for start in range(0, len(stored), step):
            samples = np.arange(start, min(start + step, len(stored)))
            stored[start:start + step] = torch.from_numpy(augmentation.unaugmented(self.images, samples))
        return stored

    def _batch(self, samples: np.ndarray) -> torch.Tensor:
        """The images as stored, uint8 (B,H,W,3)."""
        if self.stored is None:
            return self._sent(augmentation.unaugmented(self.images, samples))
        return self.stored[self._sent(samples)]

    def _moved(self, batch: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
        return _picked(batch, self._sent(rows), self._sent(columns))

    def _bilinear(self, batch: torch.Tensor, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
        """As augmentation's, the same sums in the same order."""
        height, width = self.images.size
        top, left = (np.floor(part).astype(int) for part in (rows, columns))
        down = self._sent((rows - top).astype(np.float32))[:, :, None, None]
        across = self._sent((columns - left).astype(np.float32))[:, None, :, None]
        top, left, every = self._sent(top), self._sent(left), torch.arange(height, device=self.device)[None]
        bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
        lines = (1 - across) * _picked(batch, every, left) + across * _picked(batch, every, right)
        every = torch.arange(width, device=self.device)[None]
        moved = (1 - down) * _picked(lines, top, every) + down * _picked(lines, bottom, every)
        return moved.round().to(torch.uint8)

    def _sent(self, values: np.ndarray) -> torch.Tensor:
        return sent(values, self.device)


def room(device: torch.device) -> int:
    """Bytes that images may take on a GPU: half of what is free there."""
    return torch.cuda.mem_get_info(device)[0] // 2


def sent(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """On the device; a GPU fetches it by itself, while this thread goes on."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _picked(batch: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Pixel (i, y, x) is that of batch[i] at (rows[i, y], columns[i, x]): (B,H,W,3)."""
    image = torch.arange(len(batch), device=batch.device)[:, None, None]
    return batch[image, rows[:, :, None], columns[:, None, :]]


def _coloured(batch: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Brightness, contrast, saturation, as augmentation's. change: (B,3)."""
    luma = torch.tensor(augmentation.LUMA, device=batch.device)
    bright, contrast, saturation = (1 + change.float()).T[:, :, None, None, None]
    pixels = batch * bright
    mean = (pixels * luma).sum(3).mean((1, 2))[:, None, None, None]
    pixels = mean + contrast * (pixels - mean)
    grey = (pixels * luma).sum(3, keepdim=True)
    return (grey + saturation * (pixels - grey)).clamp(0, 255).round().to(torch.uint8)
