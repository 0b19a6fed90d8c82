"""Parallel and scalable machine and deep learning: the helper package of the lecture.

Importing ``course`` is cheap: TensorFlow, MPI and matplotlib are loaded only by the
subpackages that need them (`course.deep`, `course.mpi`, `course.figures`).
"""

__version__ = "0.1.0"
