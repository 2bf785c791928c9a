"""The code package for Function Compute, built on any machine. Not part of it."""
