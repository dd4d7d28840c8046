"""A small street renderer in numpy: pictures for tests and demos, with labels that are exact by construction.

World: metres, x to the right, y forward, z up. Colours: linear light, RGB, about 1 for white in the sun.
Everything is drawn on a grid of twice the picture's size (`canvas.py`); the picture is the filtered grid, the
label is its every second sample, which lies on the pixel's centre.

From the order to the picture: `plan` (what is wanted) -> `layout` (the road) and `places` (what stands there,
put up by `builder`) -> `street` -> `picture`. `catalogue` lists the plans of the samples,
`chance` makes up plans for a data set to train on.
"""
