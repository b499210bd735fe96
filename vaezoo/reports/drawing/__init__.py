"""Figures of stored results, with matplotlib: functions that return a figure, and the PNG files of a results folder."""
