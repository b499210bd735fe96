"""Child processes: jobs run in processes of their own, forked from a server that has imported everything."""
