"""A deferred module is the module itself, loaded late."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from precsearch.system.deferred import deferred


def test_a_deferred_module_is_loaded_on_first_use_and_deferral_ends_with_its_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("late_one", "early_one"):
        (tmp_path / f"{name}.py").write_text(f"print('loading {name}')\nanswer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    with deferred("late_one", "there_is_none"):
        import early_one  # type: ignore[import-not-found] # noqa: F401
        import late_one  # type: ignore[import-not-found]

        with pytest.raises(ModuleNotFoundError):
            import there_is_none  # type: ignore[import-not-found] # noqa: F401
    assert sys.meta_path == finders
    assert late_one.__file__ == str(tmp_path / "late_one.py")
    assert capsys.readouterr().out == "loading early_one\n"
    assert late_one.answer == 42
    assert capsys.readouterr().out == "loading late_one\n"
    for name in ("late_one", "early_one"):
        del sys.modules[name]


def test_arithmetic_on_symbolic_dimensions_still_works() -> None:
    import onnx_ir

    assert str(onnx_ir.SymbolicDim("N") + 1) == "N + 1"
