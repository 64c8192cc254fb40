"""One file per format, one function each: a folder -> rows. Called by `data.sources` only.

A reader lists; it opens no video, except for the headers of files that hold several episodes. What
it does not know of a video is 0 in the row, and `data.sources` asks the file's header for the rows
that are wanted. What a person should know beyond the rows, it adds to `notes`.
"""
