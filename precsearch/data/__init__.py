"""Feeds, labels and references from the user's files, checked against the model; and their split.

``load(path, input_specs(view.inputs))`` gives a `Dataset`, ``dataset.split(...)`` the `Parts` of a
search. All files are hostile input: nothing is unpickled, sizes are checked before they are
believed, and what is wrong is a `DataError` of one sentence. Only a ``.py`` runs code.
"""

from precsearch.data.archive import MAX_BYTES
from precsearch.data.dataset import Dataset, Parts
from precsearch.data.load import load
from precsearch.data.rebatch import rebatched
from precsearch.data.spec import InputSpec, input_specs, resolve

__all__ = [
    "MAX_BYTES",
    "Dataset",
    "InputSpec",
    "Parts",
    "input_specs",
    "load",
    "rebatched",
    "resolve",
]
