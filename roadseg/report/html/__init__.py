"""The page of a run: one file for people, that needs nothing else and asks nothing of the network."""
