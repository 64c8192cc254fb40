"""Verb: the states of a whole data set, written once and reported on."""

from aid.states.report import Report, make_report
from aid.states.writing import SaidOfRow, Shown, into_rows, tell_rows

__all__ = ["Report", "SaidOfRow", "Shown", "into_rows", "make_report", "tell_rows"]
