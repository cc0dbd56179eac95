"""The models of the scaling run, with random weights."""

from __future__ import annotations

import argparse
import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

NAMES = ("vit", "resnet", "unet", "detector")


@dataclass(frozen=True)
class Story:
    """A model with its samples and its bound."""

    name: str
    model: Path
    data: Path
    tol: float


def drawn(name: str, folder: Path) -> Story:
    """A model of random weights, made by a generator that can be imported; one of `NAMES`."""
    model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    if name in ("unet", "detector"):
        module = importlib.import_module("gen_gpu_more")
        proto, shapes, batch = module.ALL[name]()
        samples: Any = module.draw(shapes, 4 * batch, 1)
    else:
        proto, shape = _vit() if name == "vit" else _resnet()
        samples = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    onnx.save(proto, model)
    np.savez(data, **samples)
    return Story(name, model, data, 1e-2 if name in ("vit", "detector") else 3e-2)


def _vit() -> tuple[onnx.ModelProto, tuple[int, ...]]:
    made = importlib.import_module("gen_gpu_vit").vit(batch=8, outlier=8000.0)
    return made, (64, 196, 768)


def _resnet() -> tuple[onnx.ModelProto, tuple[int, ...]]:
    return importlib.import_module("gen_gpu_resnet").cnn(B=32), (64, 3, 224, 224)


def own(args: argparse.Namespace, folder: Path) -> Story:
    """A model of the user's, copied beside those that are drawn."""
    name = args.model.parent.name
    model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    shutil.copyfile(args.model, model)
    shutil.copyfile(args.data, data)
    return Story(name, model, data, args.tol)
