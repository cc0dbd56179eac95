"""What a GPU machine without a network needs beside the repository, in one folder.

    python -m benchmarks.gpu.carry --fixtures DIR --generators DIR -o .carry [--wheel FILE ...]

``models/NAME`` gets a trained model and its samples, ``generators`` the scripts that make the large
models, ``peer`` the content of pure Python wheels.
"""

from __future__ import annotations

import argparse
import shutil
import zipfile
from pathlib import Path

MODELS = ("minilm_l6_banking77", "timesformer_digits", "resnet20_cifar10")
GENERATORS = (
    *("gen_gpu_vit.py", "gen_gpu_resnet.py", "gen_gpu_more.py", "gen_swin.py"),
    *("gen_synth.py", "onnxb.py"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixtures", type=Path, required=True)
    parser.add_argument("--generators", type=Path, required=True)
    parser.add_argument("--wheel", type=Path, action="append", default=[])
    parser.add_argument("-o", "--output", type=Path, default=Path(".carry"))
    args = parser.parse_args()
    shutil.rmtree(args.output, ignore_errors=True)
    for name in MODELS:
        folder = args.output / "models" / name
        folder.mkdir(parents=True)
        for file in ("model.onnx", "data.npz"):
            shutil.copyfile(args.fixtures / name / file, folder / file)
    folder = args.output / "generators"
    folder.mkdir()
    for file in GENERATORS:
        shutil.copyfile(args.generators / file, folder / file)
    for wheel in args.wheel:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(args.output / "peer")
    size = sum(p.stat().st_size for p in args.output.rglob("*") if p.is_file())
    print(f"{args.output}: {size / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main()
