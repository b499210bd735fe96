"""A folder is a slot, a file is a plugin."""
