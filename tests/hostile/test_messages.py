"""Every sentence that a hostile situation causes, listed once, so that it can be read as prose.

An ellipsis stands for what depends on the situation, or is quoted from another program.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.hostile.situations.cases import CASES

TOLD = """
The model.

there is no model file '…'; name an .onnx file
'model.onnx' is over 2 GB, which no ONNX file can be; save the model with external data
'model.onnx' is not a readable ONNX model (…); export it again
'model.onnx' holds no ONNX graph with nodes and outputs; check the file
'model.onnx' names version … of the operators 'ai.onnx', which cannot be; export it again
the graph of 'model.onnx' is malformed (…); check it with onnx.checker and export it again
Relu node 'relu' reads tensor 'ghost', which nothing writes; check the model with onnx.checker \
and export it again
tensor 'conv' is written twice; check the model with onnx.checker and export it again
… node … has 0 inputs where ONNX wants …; check the model with onnx.checker and \
export it again
tensor '…' has shape … and … bytes of data, which do not fit; the file is damaged: export the \
model again
the model's … is …, which is not UTF-8; export the model again
input 'x' is not a tensor of numbers; export the model with numeric tensors as inputs
tensor '…' keeps its data in '…', outside of the model's folder; move the file beside the model \
and save it with a relative path
the external data file 'w.bin' is missing; copy it beside 'model.onnx'
tensor 'matrix' needs 3072 bytes, but its external-data entry names 64; export the model again
tensor 'matrix' reaches past the end of 'w.bin'; the file is truncated or belongs to another model

The data.

there is no data file or folder '…'; check the path
'model.onnx' is not data that precsearch reads; give an .npz, a folder of .npz files, of pictures \
or of sounds, a .jsonl, a Polygraphy .json or a .py with load_data()
'd.npz' is not a complete .npz archive (…); save it again with np.savez
'd.npz' unpacks to 8,589,934,560 bytes, more than the limit of 4,294,967,296; store fewer samples
'd.npz' lacks 'x'; name the arrays like the model's inputs: 'x' (float32 [batch, 1, 8, 8])
'd.npz' holds 'z', which is no input of the model; it expects 'x' (float32 [batch, 1, 8, 8]), and \
optionally 'labels' and '__ref__<output name>'
'd.npz' holds '__ref__q', but the model's outputs are y; rename it
'd.npz' holds no samples; give at least one
'labels' of 'd.npz' has 3 entries along axis 0 for 4 samples; give one for each
array 'x' of 'd.npz' holds Python objects, which are never unpickled; save it as an array of \
numbers (are its rows of unequal length?)
array 'x' of 'd.npz' does not have as many bytes as its header promises; save it again
array 'x' of 'd.npz' is not in NumPy's format (…); save it with np.savez
input 'x' of 'd.npz' has shape (4, 64), which is neither samples on axis 0 of 'x' (float32 [batch, \
1, 8, 8]) nor, for every input alike, whole feeds with one more leading axis; reshape it
input 'x' has shape (1, 1, 9, 9) in feed 0, but the model takes 'x' (float32 [batch, 1, 8, 8]); \
reshape the data or give --input-shape
input 'x' is …, but the model takes float32; convert it with .astype('float32')
input 'x' holds numbers beyond float32 in feed 0; scale it as the model wants it
the data folder 'd' holds …; store one .npz per feed in it
the data script does not work: 'd.py' has no function 'load_data'; check the name after the colon
the data script does not work: 'd.py' cannot be imported: …
load_data() of 'd.py' failed: ZeroDivisionError: division by zero
feed 0 of load_data() of 'd.py' is a list; yield dictionaries of input name to array
'd.json' is not readable as JSON (…); save the inputs again with Polygraphy's --save-inputs
feed 0 of 'd.json' is not a dictionary of arrays; save the inputs again with Polygraphy's \
--save-inputs
array 'x' of feed 0 of 'd.json' is not an array as Polygraphy writes it; save the inputs again \
with --save-inputs
array 'x' of feed 0 of 'd.json' is a PyTorch tensor, stored as a pickle that is never loaded; save \
NumPy arrays

The plan.

the plan '…' cannot be read: …; check the path
'plan.json' is too large to be a plan; check the file
'model.onnx' is not a plan: it is not text
the plan is not valid JSON (…); restore it
the plan is not a JSON object; restore it
the plan names a key twice in one object; restore it
the plan holds NaN, which is not JSON; restore it
the plan has schema …, this version reads 2; make it again with 'precsearch optimize'
the plan has schema 3, this version reads 2; it was written by a newer precsearch: install that \
one, or make it again with 'precsearch optimize'
the plan has an unknown key 'x'; remove it
the plan is malformed: …; restore it or make it again with 'precsearch optimize'
the plan's recipe and criteria do not match its digest: it was edited by hand; restore it or make \
it again with 'precsearch optimize'
the plan is judged by 'rel-l2', --metric names 'max-abs'; name the plan's own, or none
the plan has the digest …, which is not the expected one: its recipe or its criteria are others; \
review it and expect its new digest
--expect takes a plan's digest, 64 hexadecimal digits, not 'abc'
name the model with --model: there is no 'plan.onnx' beside the plan

The plan, forged with its digest.

there is no metric 'beauty', by which the plan is judged; make it again with 'precsearch optimize'
the plan is compared with int8, this version compares with fp32; make it again with 'precsearch \
optimize'
the plan is judged by 'evil.py:run', its author's own code, which runs only if you name it: add \
--metric FILE.py:FUNCTION once you have read it
the plan does not say which 'evil.py:run' it is judged by: it has no digest of it; make the plan \
again with 'precsearch optimize'
the onnxruntime backend has no quantization scheme 's4'; use one of ort-u8s8-8, ort-u8s8-7; the \
plan was edited; restore it or make it again with 'precsearch optimize'
the onnxruntime backend does not truly run fp16: …; leave it out of --precisions; the plan was \
edited; restore it or make it again with 'precsearch optimize'
there is no rewrite 'sleep'; use one of …; the plan was edited; restore it or make it again with \
'precsearch optimize'
the assignment names a group 'q' that the model lacks; 'precsearch inspect' shows those it has
the plan's number of threads is 'many'; the plan was edited; restore it or make it again with \
'precsearch optimize'
the onnxruntime backend has no build option 'rm'; leave it out; the plan was edited; restore it or \
make it again with 'precsearch optimize'
the plan lacks the scale of tensor 'flat'; it was edited: restore it or make it again with \
'precsearch optimize'
the plan has two scales for tensor 'flat'; the plan was edited; restore it or make it again with \
'precsearch optimize'
the plan's scale of tensor 'flat' is '…', not a positive hexadecimal float; the plan was edited; \
restore it or make it again with 'precsearch optimize'
the plan's node 'nothing' cannot round by the range of each inference; the plan was edited; \
restore it or make it again with 'precsearch optimize'
the plan's shift of node 'nothing' does not fit it; the plan was edited; restore it or \
make it again with 'precsearch optimize'
the plan's zero point of tensor 'flat' is 300, not of uint8; the plan was edited; restore it or \
make it again with 'precsearch optimize'

The plan does not reproduce.

'model.onnx' is not the model that the plan was made for (SHA-256 …, the plan has …): the first \
node that differs is '…' (group '…'); give the original model or make a new plan
the plan does not reproduce: the first node that differs is 'conv' (group 'flat'); compare the \
versions of onnx, onnx_ir and numpy with those in the plan's evidence
the plan was lowered by 'typed-0', this version has lowering …; install precsearch \
… or make a new plan
this version groups the model's layers differently from the one that made the plan; install \
precsearch … or make a new plan
the plan's rewrite 'merge-scales' fits nowhere in this model now; install precsearch … or make a \
new plan

The journal.

'run/journal.jsonl' is not a journal that this version reads: …; start afresh with --force
'run/journal.jsonl' does not begin with a run; start afresh with --force
line 2 of 'run/journal.jsonl' is damaged; restore it, or start afresh with --force
the run in 'run' cannot be resumed: tol was 0.9 and is now 0.8; give it what it began with, or \
start afresh with --force
'run' holds the journal of an earlier run; add --resume to go on with it, or --force to start afresh
the journal '…' cannot be written: …; name another --run-dir

The outputs.

the folder '…' does not exist; create it first
'p' is a folder; name a file
'…' is a device or a pipe, not a file; name a file
'…' exists already; add --force to replace it
'…' cannot be written: …; name another output
'…' is the input '…', which is never overwritten; name another output
'a' is named for two outputs; name another file for one

The options.

there is no backend 'tpu'; use one of …
there is no strategy 'luck'; use one of …
there is no metric 'beauty'; choose … or module:function
there is no granularity 'row'; use one of …
there is no calibration method 'best'; use one of minmax, percentile, mse, entropy
the onnxruntime backend does not truly run fp16: …; leave it out of --precisions
the tolerance of rel-l2 must be at least 0, not -1.0
--input-shape names 'z', but the model's inputs are x
--input-shape x:1x3x8x8 does not fit input 'x' (float32 [batch, 1, 8, 8])
'data.npz' holds 16 samples, fewer than one batch of 99; give more samples or a smaller --batch
the metric 'top1' needs labels, which the data lacks: store them under the key 'labels', or choose \
another --metric
the module 'nowhere' cannot be imported: ModuleNotFoundError: No module named 'nowhere'
'loss.py' has no function '…'; check the name after the colon
there is no file 'gone.py'; name an existing .py file
'loss.py:' is no function; write module:function or file.py:function
--time-budget takes a time such as 90s, 30m or 1h, not '0s'
a run is either resumed or started afresh: drop --resume or --force
"""

SENTENCES = [row for row in TOLD.splitlines() if row and not re.fullmatch(r"The .*\.", row)]


def fits(told: str, said: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, told.split("…"))), said) is not None


def test_every_sentence_is_listed(printed: dict[str, str]) -> None:
    unlisted = [s for s in printed.values() if not any(fits(told, s) for told in SENTENCES)]
    assert unlisted == []


def test_every_listed_sentence_is_printed_and_listed_once(printed: dict[str, str]) -> None:
    for told in SENTENCES:
        assert any(fits(told, s) for s in printed.values()), f"nothing says: {told}"
    assert len(set(SENTENCES)) == len(SENTENCES)


def test_every_listed_message_is_a_sentence() -> None:
    for told in SENTENCES:
        assert not told.endswith(".")
        assert told[0] in "'-…" or told[0].islower() or told.startswith(("Relu", "Conv")), told


def test_the_page_shows_the_printed_messages(printed: dict[str, str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hostile-input.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| ")]
    for case in CASES:
        assert any(row.startswith(f"| {case.what} | {case.code} |") for row in rows), str(case)
    assert len(printed) == len(CASES)
