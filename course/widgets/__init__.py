"""Widgets: sliders and buttons around figures, for notebooks."""
