"""The real Python bindings of TensorRT versions that cannot run here, over libraries of stubs.

A bindings wheel (about 1 MB) leaves nine to thirteen functions of TensorRT's libraries undefined.
Libraries with these functions, each of which returns NULL, are enough to import it without a GPU or
driver: every enum, class and signature is then TensorRT's own, only `Builder()` and `Runtime()`
fail. `surface/*.json` holds what the wheels offer; the tests read that.

    python tests/backends/trt/stand_in/bindings.py            make the dumps again and compare
    python tests/backends/trt/stand_in/bindings.py --write    write them (after a version was added
    below)

Needs a package index, a C compiler, and for 8.6.0 a CPython 3.10, whose wheel brings the libraries
too (950 MB); name versions to leave some out. What was fetched stays in --cache (default
$PRECSEARCH_BINDINGS, else ~/.cache/precsearch-bindings).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SURFACE = HERE / "surface"
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
ALIAS = "import sys\nimport tensorrt_bindings\nsys.modules[__name__] = tensorrt_bindings\n"
"""What the tensorrt package itself amounts to; the bindings come under a name of their own."""

MISSING = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    # 8.6 alone: the parsers of UFF and Caffe
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)
"""Functions that a bindings module takes from TensorRT's libraries."""


@dataclass(frozen=True)
class Wheel:
    """Where the bindings of one version come from, and a CPython that they exist for."""

    requirement: str
    python: tuple[int, int]
    newest: tuple[int, int]

    def fits(self, python: tuple[int, int]) -> bool:
        """Whether there is a wheel for this CPython (from 3.10 on)."""
        return (3, 10) <= python <= self.newest


WHEELS = {
    "8.6.0": Wheel("tensorrt==8.6.0", (3, 10), (3, 10)),
    "8.6.1": Wheel("tensorrt-bindings==8.6.1", (3, 10), (3, 11)),
    "10.0.1": Wheel("tensorrt-cu12-bindings==10.0.1", (3, 10), (3, 12)),
    "10.16.1.11": Wheel("tensorrt-cu12-bindings==10.16.1.11", (3, 10), (3, 13)),
    "11.0.0.114": Wheel("tensorrt-cu13-bindings==11.0.0.114", (3, 10), (3, 13)),
    "11.4.0.106": Wheel("tensorrt-cu13-bindings==11.4.0.106", (3, 10), (3, 13)),
}


def cache_folder() -> Path:
    """Where wheels are kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("PRECSEARCH_BINDINGS", home / "precsearch-bindings"))


def unpacked(version: str, python: tuple[int, int], cache: Path) -> Path:
    """A folder from which that Python imports ``tensorrt``; fetched unless it is in the cache."""
    tag = f"cp{python[0]}{python[1]}"
    folder = cache / f"{version}-{tag}"
    if (folder / "tensorrt" / "__init__.py").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(_wheel(WHEELS[version].requirement, python, cache)) as wheel:
        for name in wheel.namelist():  # not the libraries: stubs stand in for them
            if name.startswith("tensorrt") and "/lib" not in name:
                wheel.extract(name, folder)
    alias = folder / "tensorrt"
    if not alias.exists():
        alias.mkdir()
        (alias / "__init__.py").write_text(ALIAS)
    return folder


def _wheel(requirement: str, python: tuple[int, int], cache: Path) -> Path:
    name, _, version = requirement.partition("==")
    cache.mkdir(parents=True, exist_ok=True)
    pattern = f"{name.replace('-', '_')}-{version}-cp{python[0]}{python[1]}-*.whl"
    if not list(cache.glob(pattern)):
        options = ("--no-deps", "--only-binary=:all:", "--python-version", "{}.{}".format(*python))
        command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
        subprocess.run([*command, "--dest", str(cache), requirement], check=True)
    return next(iter(cache.glob(pattern)))


def stubs(version: str, cache: Path) -> Path:
    """A folder of libraries whose functions return NULL, named as this version wants them."""
    major = version.partition(".")[0]
    folder = cache / f"stubs-{major}"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "stubs.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in MISSING))
    for library in LIBRARIES:
        file = folder / f"lib{library}.so.{major}"
        if not file.exists():
            link = ("-shared", "-fPIC", f"-Wl,-soname,{file.name}", "-o", str(file))
            subprocess.run(["cc", *link, str(source)], check=True)
    return folder


def interpreter(python: tuple[int, int]) -> str:
    """A CPython of this version: the running one, one on PATH, or one that pyenv knows.

    Raises:
        LookupError: There is none.
    """
    if python == sys.version_info[:2]:
        return sys.executable
    wanted = "python{}.{}".format(*python)
    if shutil.which("pyenv"):
        command = ["pyenv", "prefix", "{}.{}".format(*python)]
        listed = subprocess.run(command, check=False, capture_output=True)
        found = Path(listed.stdout.decode().strip()) / "bin" / wanted
        if listed.returncode == 0 and found.exists():
            return str(found)
    if path := shutil.which(wanted):
        return path
    raise LookupError(f"no {wanted} on PATH; install one or leave its TensorRT versions out")


def run(version: str, python: tuple[int, int], cache: Path, *command: str) -> str:
    """What a command of that Python prints where ``import tensorrt`` gives this version."""
    paths = [str(unpacked(version, python, cache)), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LD_LIBRARY_PATH": str(stubs(version, cache)),
    }
    program = [interpreter(python), *command]
    return subprocess.run(
        program, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    ).stdout


def dump(version: str, cache: Path) -> dict[str, Any]:
    """What the real bindings of this version offer."""
    python = WHEELS[version].python
    found: dict[str, Any] = json.loads(run(version, python, cache, str(HERE / "dump_surface.py")))
    return found


def text_of(surface: dict[str, Any]) -> str:
    """As it is committed: a line per enum and class, so that versions can be compared with diff."""
    lines = [f'{{"version": {json.dumps(surface["version"])}']
    for part in ("enums", "classes"):
        rows = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(surface[part].items())]
        lines.append(f',"{part}": {{\n' + ",\n".join(rows) + "}")
    lines += [f',"{part}": {json.dumps(surface[part])}' for part in ("functions", "values")]
    return "\n".join(lines) + "}\n"


def main() -> int:
    """Make the dumps and compare (or write) them; 1 if they differ."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="*", default=list(WHEELS), metavar="VERSION")
    parser.add_argument("--write", action="store_true", help="write surface/*.json")
    parser.add_argument("--cache", type=Path, default=cache_folder())
    wanted = parser.parse_args()
    differing = 0
    for version in wanted.versions:
        file = SURFACE / f"{version}.json"
        made = text_of(dump(version, wanted.cache))
        if wanted.write:
            file.write_text(made)
        same = file.exists() and file.read_text() == made
        print(f"{version}: {'as committed' if same else 'DIFFERS from ' + file.name}")
        differing += not same
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
