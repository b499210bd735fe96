"""Objectives: each file is a plugin, what training maximises."""
