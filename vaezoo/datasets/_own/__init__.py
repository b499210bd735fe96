"""What the formats of a user's own data share: options, splits, order of axes, values, and one line for each error.

A format's file reads its file into `Part`s and knows nothing of the rest.
"""
