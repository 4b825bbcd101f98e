"""What wixvisitor costs, as ratios measured in one run: `python -m benchmarks --help`, or `nox -s bench`.

One file for each question; each has a `measure` that returns an `Answer`. `measuring.py` is what they share,
`side.py` and `side.mjs` are the processes that make the requests, `drawing.py` draws the charts.
"""
