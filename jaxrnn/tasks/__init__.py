"""Data to train on: functions that make a `Task`, and `TASKS`, the table of them."""

from jaxrnn.tasks.adding import adding as adding
from jaxrnn.tasks.copy import copy as copy
from jaxrnn.tasks.series import series as series
from jaxrnn.tasks.text import decode as decode
from jaxrnn.tasks.text import encode as encode
from jaxrnn.tasks.text import text as text
from jaxrnn.tasks.types import Batch as Batch
from jaxrnn.tasks.types import StreamBatch as StreamBatch
from jaxrnn.tasks.types import Task as Task
from jaxrnn.tasks.types import TaskEntry as TaskEntry

__all__ = [
    "TASKS",
    "Batch",
    "StreamBatch",
    "Task",
    "TaskEntry",
    "adding",
    "copy",
    "decode",
    "encode",
    "series",
    "text",
]

# the one table that the command line, the tests and the documentation read
TASKS: dict[str, TaskEntry] = {
    "adding": TaskEntry(adding, False, "add two marked numbers of a long sequence"),
    "copy": TaskEntry(copy, False, "repeat a list of symbols after a delay"),
    "series": TaskEntry(series, True, "predict the next row of a CSV file (default: sunspots)"),
    "text": TaskEntry(text, True, "predict the next character of a text (default: Python's help)"),
}
