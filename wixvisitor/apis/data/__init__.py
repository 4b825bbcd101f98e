"""Wix's APIs: data, the collections of the CMS. Written by hand: there is no npm package to generate them from."""
