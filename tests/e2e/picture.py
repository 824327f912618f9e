"""Pictures to compare: what a page has decoded, and how like another picture it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chromium import Page

_GRAB = """
(async () => {
  const video = document.querySelector("video");
  const { videoWidth: width, videoHeight: height } = video;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let text = "";
  for (let i = 0; i < data.length; i += 32768) {
    text += String.fromCharCode(...data.subarray(i, i + 32768));
  }
  return [width, height, btoa(text)];
})()
"""

_PLANES = """
(async () => {
  const frame = new VideoFrame(document.querySelector("video"));
  const { format, codedWidth, codedHeight, colorSpace } = frame;
  const bytes = new Uint8Array(frame.allocationSize());
  const planes = await frame.copyTo(bytes);
  frame.close();
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return [format, codedWidth, codedHeight, colorSpace.toJSON(), planes, btoa(text)];
})()
"""

# ITU-R BT.709-6, item 3.2.
_LUMA = np.array([0.2126, 0.7152, 0.0722])

_WINDOW = 8
_STEP = 4


async def decoded_rgb(page: Page) -> NDArray[np.uint8]:
    """The frame that the page's <video> shows, as the page sees it: height x width x 3 (RGB)."""
    width, height, data = await page.evaluate(_GRAB)
    pixels = np.frombuffer(base64.b64decode(data), dtype=np.uint8)
    return pixels.reshape(height, width, 4)[:, :, :3].copy()


@dataclass(frozen=True)
class Planes:
    """A decoded frame as it left the decoder: I420, and what the stream says of its colours."""

    y: NDArray[np.uint8]
    u: NDArray[np.uint8]
    v: NDArray[np.uint8]
    colour_space: dict[str, Any]
    """As VideoColorSpace.toJSON() has it."""


async def decoded_planes(page: Page) -> Planes:
    """The frame that the page's <video> shows, before any conversion to RGB."""
    format_, width, height, colour_space, layout, data = await page.evaluate(_PLANES)
    assert format_ == "I420", f"the decoder's frames are {format_}"
    memory = np.frombuffer(base64.b64decode(data), dtype=np.uint8)

    def plane(index: int, columns: int, rows: int) -> NDArray[np.uint8]:
        start, stride = layout[index]["offset"], layout[index]["stride"]
        return memory[start : start + rows * stride].reshape(rows, stride)[:, :columns].copy()

    half = (width + 1) // 2, (height + 1) // 2
    return Planes(plane(0, width, height), plane(1, *half), plane(2, *half), colour_space)


def rgb_of_bgrx(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of a native source (height x width x 4) as height x width x 3 (RGB)."""
    return pixels[:, :, 2::-1].copy()


def luma_of(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """BT.709 luma of full-range RGB, 0..255."""
    luma: NDArray[np.float64] = rgb @ _LUMA
    return luma


def ssim(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The mean structural similarity of two pictures of 0..255: 1 for the same, about 0 for others.

    Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment: from error visibility to structural
    similarity" (2004), with the paper's constants and square windows of 8 x 8 pixels, four pixels
    apart, in place of its Gaussian ones.
    """
    if one.shape != other.shape:
        raise ValueError(f"pictures of {one.shape} and {other.shape} cannot be compared")
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = _means(one), _means(other)
    var_x = _means(one * one) - mean_x**2
    var_y = _means(other * other) - mean_y**2
    covariance = _means(one * other) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float(np.mean(luminance * structure))


def _means(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each window, through sums over all pixels above and to the left."""
    sums = np.pad(picture, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    total = sums[_WINDOW:, _WINDOW:] - sums[_WINDOW:, :-_WINDOW]
    total = total - sums[:-_WINDOW, _WINDOW:] + sums[:-_WINDOW, :-_WINDOW]
    means: NDArray[np.float64] = total[::_STEP, ::_STEP] / _WINDOW**2
    return means
