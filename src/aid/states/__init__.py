"""Writes the states of a whole data set once, and reports on them."""

from aid.states.report import Report, make_report
from aid.states.writing import FirstFrames, RowStates, rows_with_states, write_states

__all__ = ["FirstFrames", "Report", "RowStates", "make_report", "rows_with_states", "write_states"]
