"""What `diagnose` does once its options are known, and how a diagnosis is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.text import Text

from precsearch.cli.cells import ASCII
from precsearch.cli.exit_codes import Exit
from precsearch.cli.output.diagnose import engine_lines, lines
from precsearch.cli.output.diagnosis_values import csv_of, engine_fields, fields
from precsearch.cli.output.page import Page
from precsearch.cli.output.streams import glyphs_of, stderr, stdout
from precsearch.codec import dumps
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.diagnosis.miscompilation import check_engine
from precsearch.diagnosis.reproducer import write_reproducer
from precsearch.diagnosis.result import Diagnosis
from precsearch.graph.reading.read import read_model
from precsearch.replay.weights import write_model
from precsearch.rewrites.search import Suggestion
from precsearch.setup.files import check_free, write_output

__all__ = ["ORDERS", "run_diagnose"]

ORDERS = ("worst", "graph")


def run_diagnose(
    config: DiagnoseConfig,
    *,
    order: str,
    json: bool,
    table: Path | None,
    rewritten: Path | None,
    reproducer: Path | None,
    force: bool,
) -> Exit:
    """Compare a configuration with FP32 and show it; of FP32 itself, the engine with the reference.

    Raises:
        InputError: What was given cannot be read, or a file not be written.
    """
    if order not in ORDERS:
        raise OptionError(f"--order takes {' or '.join(ORDERS)}, not {order!r}")
    if rewritten is not None and not config.suggest:
        raise OptionError("--rewritten writes what --suggest finds; add --suggest")
    if config.precision is Precision.FP32 and config.plan is None:
        if table is not None or config.suggest:
            raise OptionError(
                "with --precision fp32 there is no table and no rewrite; leave out --csv, --suggest"
            )
        return _check_engine(config, reproducer, json=json, force=force)
    if reproducer is not None:
        raise OptionError(
            "--reproducer is for engines that are wrong in FP32; add --precision fp32"
        )
    return _look_inside(config, order, table, rewritten, json=json, force=force)


def _look_inside(
    config: DiagnoseConfig,
    order: str,
    table: Path | None,
    rewritten: Path | None,
    *,
    json: bool,
    force: bool,
) -> Exit:
    """Compare every tensor with FP32's, write what was asked for, and show the table."""
    inputs = [p for p in (config.model, config.data, config.plan) if p is not None]
    files = [p for p in (table, rewritten) if p is not None]
    check_free(files, force=force, inputs=inputs)
    if rewritten is not None:
        check_free([rewritten], force=True, inputs=read_model(config.model).external)
    out, errors = stdout(), stderr()
    dull = errors.is_dumb_terminal or glyphs_of(errors) is ASCII
    with errors.status("looking inside", spinner="line" if dull else "dots"):
        diagnosis = diagnose(config)
    if table is not None:
        write_output(table, csv_of(diagnosis), force=force)
    best = next((s for s in diagnosis.suggestions if s.model is not None), None)
    if rewritten is not None and best is not None and best.model is not None:
        put = partial(write_output, force=force)
        write_model(read_model(config.model), rewritten, best.model, put)
    if json:
        out.file.write(f"{dumps(fields(diagnosis))}\n")
        return Exit.DONE
    page = Page(out.width, glyphs_of(out))
    page.write(
        out,
        [
            *lines(diagnosis, page, order),
            *([] if table is None else [page.place("table", table)]),
            *([] if rewritten is None else _rewritten(page, rewritten, best, diagnosis)),
        ],
    )
    return Exit.DONE


def _check_engine(
    config: DiagnoseConfig, reproducer: Path | None, *, json: bool, force: bool
) -> Exit:
    """Find the first tensor that the FP32 engine gets wrong, and write what shows it."""
    folder = reproducer or Path(f"{config.model.stem}.reproducer")
    if folder.is_dir():
        check_free([folder / "model.onnx"], force=force, inputs=[config.model])
    checked = check_engine(config.model, config.data, config.backend, config.batch)
    out, miscompiled = stdout(), checked.found
    page = Page(out.width, glyphs_of(out))
    if miscompiled is not None:
        write_reproducer(miscompiled, checked.backend, folder, read_model(config.model))
    if json:
        out.file.write(f"{dumps(engine_fields(checked, folder))}\n")
    else:
        page.write(out, engine_lines(checked, folder, page))
    return Exit.DONE if miscompiled is None else Exit.UNMET


def _rewritten(page: Page, path: Path, best: Suggestion | None, diagnosis: Diagnosis) -> list[Text]:
    """Where the best rewrite was written, or why none was."""
    if best is None:
        tried = any(s.rewrites for s in diagnosis.suggestions)
        why = "is exact in FP32" if tried else "fits this model"
        return page.sentence(f"no rewrite {why}, so none was written", "! ", "yellow")
    place = page.place("rewritten", path)
    if best.helps:
        return [place]
    told = f"{best.name} was written, which does not make this configuration clearly more accurate"
    return [place, *page.sentence(told, "! ", "yellow")]
