"""Keras models of the lecture, Horovod training on Keras 3, and timing.

Importing this package imports nothing heavy; its modules import Keras, TensorFlow and
Horovod.
"""
