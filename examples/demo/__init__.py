"""A visitor's life, told and checked: ``python -m examples.demo``.

Begin with ``fake.py``, the life with FakeWix in Wix's place, and ``life.py``, the program that holds the visitor.
"""
