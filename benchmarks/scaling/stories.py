"""The models of the scaling run, with random weights."""

from __future__ import annotations

import argparse
import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

NAMES = ("vit", "resnet", "unet")


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
    makers: dict[str, Callable[[], tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]]] = {
        "vit": lambda: (
            importlib.import_module("gen_gpu_vit").vit(batch=8, outlier=8000.0),
            {"x": (64, 196, 768)},
        ),
        "resnet": lambda: (
            importlib.import_module("gen_gpu_resnet").cnn(B=32),
            {"x": (64, 3, 224, 224)},
        ),
        "unet": lambda: (
            importlib.import_module("gen_gpu_more").unet()[0],
            {"x": (32, 3, 224, 224)},
        ),
    }
    proto, shapes = makers[name]()
    onnx.save(proto, model)
    random = np.random.default_rng(1)
    samples: Any = {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}
    np.savez(data, **samples)
    return Story(name, model, data, 1e-2 if name == "vit" else 3e-2)


def own(args: argparse.Namespace, folder: Path) -> Story:
    """A model of the user's, copied beside those that are drawn."""
    name = args.model.parent.name
    model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    shutil.copyfile(args.model, model)
    shutil.copyfile(args.data, data)
    return Story(name, model, data, args.tol)
