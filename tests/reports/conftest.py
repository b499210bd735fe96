"""Puts this folder's modules (frames, folders) on the path of the tests below it."""
