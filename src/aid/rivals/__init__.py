"""The other methods of the paper's main table, each written anew from its paper.

`method.py` says what a method must offer. Every method is one file; parts that two of them need are
files of their own.
"""
