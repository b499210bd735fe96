"""Devices, who uses them, and timing."""
