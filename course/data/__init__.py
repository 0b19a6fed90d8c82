"""Data sets of the lecture: shipped with the package, so that no node needs the internet.

`mnist` and `satimage` return NumPy arrays, ``((x_train, y_train), (x_test, y_test))`` like
Keras. ``files/SOURCES.md`` names the source, the licence and the hash of every file.
"""

from course.data.archive import FILES, DataError
from course.data.digits import mnist, serve_keras
from course.data.landsat import SATIMAGE_CLASSES, satimage

__all__ = ["FILES", "SATIMAGE_CLASSES", "DataError", "mnist", "satimage", "serve_keras"]
