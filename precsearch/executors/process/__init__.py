"""A persistent child process that may crash, hang or run out of memory in our place.

The child is a fresh interpreter, started by its command line rather than by `multiprocessing`: that
would import the user's script again, which would have to guard itself with ``if __name__ ==
"__main__"`` and could not come from standard input. Requests and replies are pickles over its
standard input and output; what native libraries print goes to a log instead.

The child leads its own process group, which is killed as a whole. It ends when its input closes, so
that a parent that is killed leaves none behind: a thread of it sees the end of the input, and where
a native call that hangs also keeps that thread from running, a timer in C ends it after the limit.
"""

from precsearch.executors.process.worker import Worker

__all__ = ["Worker"]
