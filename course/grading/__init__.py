"""What nbgrader needs beyond itself to grade this course."""
