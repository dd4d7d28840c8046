"""Pictures and videos in and out: decoding, encoding, drawing. Knows nothing of models."""
