"""One HTML page of stored results that opens from the disk, with no network. Needs no torch."""
