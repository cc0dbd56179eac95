"""A folder of pictures or sounds as samples of a model with one input that takes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, OptionError
from precsearch.data.check import LABELS
from precsearch.data.preprocess import Preprocess
from precsearch.data.spec import InputSpec
from precsearch.system.regular_file import open_regular

__all__ = ["AUDIO", "IMAGES", "media_files", "read_media"]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
AUDIO = frozenset({".wav", ".flac", ".ogg"})
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")
_GREY = 114
"""What YOLO's own letterbox fills with."""
_CHANNELS = (1, 3)
_RANK = 4


def media_files(folder: Path) -> tuple[list[Path], bool]:
    """The pictures or sounds of a folder and of the folders in it, sorted.

    Returns:
        The files, and whether they are sounds; pictures go first where there are both.
    """
    inside = [p for p in folder.iterdir() if p.is_dir()]
    every = sorted(p for place in (folder, *inside) for p in place.iterdir() if p.is_file())
    images = [p for p in every if p.suffix.lower() in IMAGES]
    sounds = [p for p in every if p.suffix.lower() in AUDIO]
    return (images, False) if images else (sounds, True)


def read_media(
    folder: Path, specs: Sequence[InputSpec], how: Preprocess, limit: int
) -> dict[str, Array]:
    """The samples of a folder, stacked; labels are the numbers of the folders in it, sorted.

    Args:
        folder: With the files, or with one folder for each class.
        specs: The model's inputs.
        how: Steps that make samples of files.
        limit: Bytes that the samples may have.

    Raises:
        DataError: A file cannot be read, files differ in size, or nothing says how the model wants
            them.
        OptionError: The package that reads them is not installed, or the steps do not fit.
    """
    files, sounds = media_files(folder)
    spec = _input(specs, sounds)
    if not how.text and not sounds:
        _refuse_unprepared(folder, len(files), spec)
    samples: list[Array] = []
    size = 0
    for array in _sounds(files, how) if sounds else _pictures(files, how, spec):
        sample = array.astype(spec.dtype)
        size += sample.nbytes
        if samples and sample.shape != samples[0].shape:
            raise DataError(
                f"{files[len(samples)].name!r} gives shape {sample.shape} and {files[0].name!r} "
                f"{samples[0].shape}; make them alike with --preprocess "
                f"{'seconds=…' if sounds else 'resize=…,crop=…'}"
            )
        if size > limit:
            raise DataError(
                f"the samples of {folder.name!r} take more than {limit:,} bytes; give fewer files"
            )
        samples.append(sample)
    stacked = np.stack(samples)
    if sounds and spec.dims is not None and len(spec.dims) == stacked.ndim + 1:
        stacked = stacked[:, None]
    arrays: dict[str, Array] = {spec.name: stacked}
    classes = sorted({f.parent.name for f in files if f.parent != folder})
    if classes and all(f.parent != folder for f in files):
        arrays[LABELS] = np.array([classes.index(f.parent.name) for f in files], np.int64)
    return arrays


def _input(specs: Sequence[InputSpec], sounds: bool) -> InputSpec:
    if len(specs) != 1:
        kind = "sounds" if sounds else "pictures"
        raise DataError(
            f"a folder of {kind} is for models of one input, this one has {len(specs)} "
            f"({', '.join(map(str, specs))}); use a .py with load_data()"
        )
    return specs[0]


def _refuse_unprepared(folder: Path, count: int, spec: InputSpec) -> NoReturn:
    height, width = _sides(spec)
    size = f"resize={height}x{width}" if height and width else "resize=256,crop=224"
    raise DataError(
        f"{folder.name!r} holds {count} pictures, and nothing says how the model, which takes "
        f"{spec}, wants them: prepare them as in training, such as --preprocess {size} for values "
        "from 0 to 1, or with mean=0.485:0.456:0.406,std=0.229:0.224:0.225 behind it for most "
        "models of ImageNet"
    )


def _sides(spec: InputSpec) -> tuple[int, int]:
    """Height and width that a model fixes, 0 where it does not."""
    dims = spec.dims or ()
    if len(dims) != _RANK:
        return 0, 0
    inner = dims[1:3] if _last(spec) else dims[2:4]
    height, width = (d if isinstance(d, int) else 0 for d in inner)
    return height, width


def _last(spec: InputSpec) -> bool:
    """Whether channels come last, by the model's input."""
    dims = spec.dims or ()
    return len(dims) == _RANK and dims[3] in _CHANNELS and dims[1] not in _CHANNELS


def _pictures(files: Sequence[Path], how: Preprocess, spec: InputSpec) -> Iterator[Array]:
    try:
        from PIL import Image
    except ImportError as error:
        raise OptionError(
            "a folder of pictures needs Pillow; run: pip install 'precsearch[images]'"
        ) from error
    channels_last = how.layout == "nhwc" or (how.layout is None and _last(spec))
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with open_regular(file) as stream:
                    opened: Any = Image.open(stream, formats=_FORMATS)
                    picture = _sized(opened.convert("L" if how.gray else "RGB"), how, Image)
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
            raise DataError(
                f"the picture {file.name!r} cannot be read ({str(error)[:120]}); remove it"
            ) from error
        yield _numbers(np.asarray(picture), how, spec, channels_last)


def _sized(picture: Any, how: Preprocess, image: Any) -> Any:  # noqa: ANN401 - Pillow has no types
    linear = image.Resampling.BILINEAR
    if how.resize is not None:
        width, height = picture.size
        if len(how.resize) == 1:
            factor = how.resize[0] / min(width, height)
            height, width = max(1, round(height * factor)), max(1, round(width * factor))
        else:
            height, width = how.resize
        picture = picture.resize((width, height), linear)
    if how.letterbox is not None:
        height, width = how.letterbox
        factor = min(width / picture.size[0], height / picture.size[1])
        inner = tuple(max(1, round(n * factor)) for n in picture.size)
        grey = image.new(picture.mode, (width, height), (_GREY,) * len(picture.getbands()))
        grey.paste(
            picture.resize(inner, linear), ((width - inner[0]) // 2, (height - inner[1]) // 2)
        )
        picture = grey
    if how.crop is not None:
        height, width = how.crop
        left, top = (picture.size[0] - width) // 2, (picture.size[1] - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    return picture


def _numbers(pixels: Array, how: Preprocess, spec: InputSpec, channels_last: bool) -> Array:
    values = pixels[..., None] if pixels.ndim == 2 else pixels
    if how.bgr:
        values = values[..., ::-1]
    floats = spec.dtype.kind == "f"
    array: Array = values
    if floats or how.scale is not None or how.mean or how.std:
        array = values.astype(np.float32) / np.float32(how.scale or (255.0 if floats else 1.0))
    for numbers, name in ((how.mean, "mean"), (how.std, "std")):
        if numbers and len(numbers) not in (1, values.shape[-1]):
            raise OptionError(
                f"--preprocess {name} has {len(numbers)} numbers for {values.shape[-1]} channels; "
                "give one for each, separated by colons"
            )
    if how.mean:
        array = array - np.asarray(how.mean, np.float32)
    if how.std:
        array = array / np.asarray(how.std, np.float32)
    return array if channels_last else np.moveaxis(array, -1, 0)


def _sounds(files: Sequence[Path], how: Preprocess) -> Iterator[Array]:
    try:
        import soundfile
    except ImportError as error:
        raise OptionError(
            "a folder of sounds needs soundfile; run: pip install 'precsearch[audio]'"
        ) from error
    for file in files:
        try:
            with open_regular(file) as stream:
                values, rate = soundfile.read(stream, dtype="float32", always_2d=True)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise DataError(
                f"the sound {file.name!r} cannot be read ({str(error)[:120]}); remove it"
            ) from error
        if how.rate is not None and rate != how.rate:
            raise DataError(
                f"{file.name!r} has {rate} samples a second, not {how.rate}; convert it, for "
                f"example with: ffmpeg -i in.wav -ar {how.rate} out.wav"
            )
        mono: Array = values.mean(axis=1)
        if how.seconds is not None:
            length = round(how.seconds * rate)
            mono = np.pad(mono[:length], (0, max(0, length - len(mono))))
        yield mono
