"""The models of the benchmarks of ONNX Runtime on a GPU, made or found in a folder.

See `benchmarks.gpu.carry` for the folder.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx


@dataclass(frozen=True)
class Story:
    """One model to search.

    Attributes:
        name: In tables.
        model: The ONNX file.
        data: Its samples.
        tol: The bound.
        options: Further ones of `precsearch.api.OptimizeConfig`.
    """

    name: str
    model: Path
    data: Path
    tol: float = 1e-2
    options: dict[str, Any] = field(default_factory=dict)


def _module(carry: Path, name: str) -> Any:  # noqa: ANN401 - a script without types
    folder = str((carry / "generators").resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def _samples(path: Path, name: str, shape: tuple[int, ...], seed: int = 1) -> Path:
    drawn: Any = {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
    np.savez(path, **drawn)
    return path


def vit(carry: Path, work: Path, batch: int = 8, outlier: float = 8000.0) -> Story:
    """A transformer whose LayerNorms overflow in FP16."""
    model = work / f"vit{batch}.onnx"
    onnx.save(_module(carry, "gen_gpu_vit").vit(batch=batch, outlier=outlier), model)
    data = _samples(work / f"vit{batch}.npz", "x", (8 * batch, 196, 768))
    return Story(f"vit, batch {batch}", model, data)


def resnet(carry: Path, work: Path, batch: int = 32) -> Story:
    """A residual CNN, ResNet18-like."""
    model = work / "resnet.onnx"
    onnx.save(_module(carry, "gen_gpu_resnet").cnn(B=batch), model)
    data = _samples(work / "resnet.npz", "x", (4 * batch, 3, 224, 224))
    return Story(f"resnet, batch {batch}", model, data)


def swin(carry: Path, work: Path, batch: int = 16) -> Story:
    """Windows of 49 tokens, at a size that keeps a GPU busy."""
    module = _module(carry, "gen_swin")
    size = {**module.CFG, "IMG": 56, "D": 96, "H": 3}
    model = work / "swin.onnx"
    onnx.save(module.build(module.random_params(0, size), size), model)
    data = _samples(work / "swin.npz", "image", (4 * batch, 1, 56, 56))
    return Story(f"swin, batch {batch}", model, data, options={"batch": batch})


def more(name: str) -> Callable[[Path, Path], Story]:
    """The UNet or the detector."""

    def made(carry: Path, work: Path) -> Story:
        module = _module(carry, "gen_gpu_more")
        proto, shapes, batch = module.ALL[name]()
        model, data = work / f"{name}.onnx", work / f"{name}.npz"
        onnx.save(proto, model)
        np.savez(data, **module.draw(shapes, 4 * batch, 1))
        return Story(f"{name}, batch {batch}", model, data)

    return made


def trained(folder: str, name: str, batch: int = 32) -> Callable[[Path, Path], Story]:
    """A trained model."""

    def made(carry: Path, work: Path) -> Story:
        found = carry / "models" / folder
        model, data = found / "model.onnx", found / "data.npz"
        return Story(f"{name}, batch {batch}", model, data, options={"batch": batch})

    return made


def planted(shift: float, what: str) -> Callable[[Path, Path], Story]:
    """A small network with a planted overflow, and a planted cancellation of the given size."""

    def made(carry: Path, work: Path) -> Story:
        folder = work / f"planted{shift:g}"
        _module(carry, "gen_synth").main(str(folder), 0, shift)
        return Story(f"planted {what}", folder / "model.onnx", folder / "data.npz")

    return made


STORIES: dict[str, Callable[[Path, Path], Story]] = {
    "vit": vit,
    "minilm": trained("minilm_l6_banking77", "minilm"),
    "timesformer": trained("timesformer_digits", "timesformer"),
    "resnet20": trained("resnet20_cifar10", "resnet20", 1),
    "resnet": resnet,
    "swin": swin,
    "unet": more("unet"),
    "detector": more("detector"),
    "planted": planted(2048.0, "overflow and cancellation of 2048"),
    "planted256": planted(256.0, "overflow and cancellation of 256"),
}
