"""The comparison with other libraries, as `jaxrnn bench` and the scripts in benchmarks/ run it.

No other library is loaded before its contender is made.
"""

from jaxrnn.bench.cases import CASES as CASES
from jaxrnn.bench.cases import Case as Case
from jaxrnn.bench.contenders import CONTENDERS as CONTENDERS
from jaxrnn.bench.contenders import OURS as OURS
from jaxrnn.bench.contenders import TEXTBOOK as TEXTBOOK
from jaxrnn.bench.contenders import Contender as Contender
from jaxrnn.bench.contenders import choose_contenders as choose_contenders
from jaxrnn.bench.contenders import textbook_scan as textbook_scan
from jaxrnn.bench.contenders import unroll_contender as unroll_contender
from jaxrnn.bench.machine import Machine as Machine
from jaxrnn.bench.machine import floor as floor
from jaxrnn.bench.machine import measure_machine as measure_machine
from jaxrnn.bench.measure import MODES as MODES
from jaxrnn.bench.measure import measure_problem as measure_problem
from jaxrnn.bench.place import device_name as device_name
from jaxrnn.bench.place import place as place
from jaxrnn.bench.problem import PRECISIONS as PRECISIONS
from jaxrnn.bench.problem import Problem as Problem
from jaxrnn.bench.problem import make_problem as make_problem
from jaxrnn.bench.program import Program as Program
from jaxrnn.bench.program import Results as Results
from jaxrnn.bench.program import Unavailable as Unavailable
from jaxrnn.bench.ratios import best_mean as best_mean
from jaxrnn.bench.ratios import best_other as best_other
from jaxrnn.bench.ratios import by_cell as by_cell
from jaxrnn.bench.ratios import geometric_mean as geometric_mean
from jaxrnn.bench.ratios import our_way as our_way
from jaxrnn.bench.ratios import ratio_to as ratio_to
from jaxrnn.bench.ratios import time_of as time_of
from jaxrnn.bench.record import as_json as as_json
from jaxrnn.bench.record import record as record
from jaxrnn.bench.timing import summary as summary
from jaxrnn.bench.timing import timed as timed

__all__ = [
    "CASES",
    "CONTENDERS",
    "MODES",
    "OURS",
    "PRECISIONS",
    "TEXTBOOK",
    "Case",
    "Contender",
    "Machine",
    "Problem",
    "Program",
    "Results",
    "Unavailable",
    "as_json",
    "best_mean",
    "best_other",
    "by_cell",
    "choose_contenders",
    "device_name",
    "floor",
    "geometric_mean",
    "make_problem",
    "measure_machine",
    "measure_problem",
    "our_way",
    "place",
    "ratio_to",
    "record",
    "summary",
    "textbook_scan",
    "time_of",
    "timed",
    "unroll_contender",
]
