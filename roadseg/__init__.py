"""roadseg: find the road in pictures and videos from a car, and train the model that does it."""

__version__ = "0.1.0"
