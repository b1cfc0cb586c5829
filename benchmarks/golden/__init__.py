"""Recomputes the arrays of a folder of MERLOT-Reserve reference values.

Each array that is an output of the reference comes from this project's public
functions and the folder's inputs; nothing of the model is written here a second time.
The folder's read-me says where the values came from.
"""
