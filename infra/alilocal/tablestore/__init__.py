"""Tablestore, API version 2015-12-31: the wide-column model."""
