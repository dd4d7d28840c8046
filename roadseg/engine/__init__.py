"""What the commands do: train, evaluate, segment. Reports progress by callback and never prints."""
