"""How cells are run: every engine calls the same function in a child process."""
