"""Figures: arrays in, matplotlib Axes out, each with a title, units and a text alternative."""

from course.figures.base import alternative, describe, install, to_html

__all__ = ["alternative", "describe", "install", "to_html"]

install()
