r"""One search on one device and on several: how much sooner it ends, and what stands idle.

    python -m benchmarks.scaling vit resnet unet --backend tensorrt --devices 0,1 --counts 1,2 \
        --generators DIR -o OUT
    python -m benchmarks.scaling resnet --backend tensorrt --devices 0,1 --counts 2 --ray --kill \
        --generators DIR -o OUT
    python -m benchmarks.scaling --model M.onnx --data D.npz --tol 3e-2 --devices 0,1 -o OUT
    python -m benchmarks.scaling --judge --devices 0,1 -o OUT

Each search is a process of its own, `precsearch optimize --json`, and is read from its events. A
search that is there and did not fail is not run again. ``vit``: a transformer whose LayerNorms
overflow in FP16 (batch 8). ``resnet``: a residual CNN. ``unet``: its INT8 engine does not build.
``detector``: TF32 puts its FP32 engine beyond the bound. DIR holds ``gen_gpu_vit.py``,
``gen_gpu_resnet.py`` and ``gen_gpu_more.py``. ``--ray`` searches through a Ray of this machine,
``--kill`` kills one of its actors after the fourth trial. ``--judge`` times what was shipped head
to head on the first device, and one engine ten times while the second GPU builds. OUT gets events,
plans and artifacts; one table is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.scaling.events import finished, table
from benchmarks.scaling.judging import judge
from benchmarks.scaling.searching import run
from benchmarks.scaling.stories import NAMES, Story, drawn, own


def main() -> None:
    """Search, or judge; then print what the folder holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stories", nargs="*", choices=[*NAMES, []], default=[])
    parser.add_argument("--model", type=Path, help="a model of your own, with --data and --tol")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--tol", type=float, default=3e-2)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--devices", type=lambda s: s.split(","), default=["0", "1"])
    parser.add_argument("--counts", type=lambda s: [int(n) for n in s.split(",")], default=[1, 2])
    parser.add_argument("--max-builds", type=int, default=16)
    parser.add_argument("--build-option", action="append", default=[])
    parser.add_argument("--option", action="append", default=[], help="an option of the strategy")
    parser.add_argument("--more", action="append", default=[], help="a word for optimize")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds until Ctrl-C")
    parser.add_argument("--generators", type=Path, default=Path())
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    if max(args.counts) > len(args.devices):
        parser.error(f"--counts asks for {max(args.counts)} of {len(args.devices)} devices")
    args.suffix = ".engine" if args.backend == "tensorrt" else ".onnx"
    (args.output / "models").mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(args.generators.resolve()))
    if args.judge:
        judge(args)
        return
    for story in stories(args):
        for count in args.counts:
            label = f"{story.name}.{count}{'ray' if args.ray else ''}"
            if not finished(args.output / f"{label}.jsonl"):
                run(story, label, args.devices[:count], args)
    print(table(args.output), flush=True)


def stories(args: argparse.Namespace) -> list[Story]:
    """Those that were asked for."""
    found = [drawn(name, args.output / "models") for name in args.stories]
    if args.model is not None:
        found.append(own(args, args.output / "models"))
    return found


if __name__ == "__main__":
    main()
