"""Statlog (Landsat Satellite): land cover of satellite pixels, shipped with the package."""

from typing import TYPE_CHECKING

from course.data.archive import FILES, Spec, read

if TYPE_CHECKING:
    import numpy as np

    Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

SATIMAGE_CLASSES = {
    1: "red soil",
    2: "cotton crop",
    3: "grey soil",
    4: "damp grey soil",
    5: "soil with vegetation stubble",
    7: "very damp grey soil",
}
"""Names of the labels; class 6, mixtures, has no pixels in the set."""

SPECS = {
    "x_train": Spec(
        (4435, 36), "uint8", "8a433028af08a059d77876bff78a383a8cece3d8f5b01884abebf76553326cb8"
    ),
    "y_train": Spec(
        (4435,), "uint8", "fe64be7c885e18bc976ad436f32e6e0bffa336d247c960fe6063a9a1650c0e2f"
    ),
    "x_test": Spec(
        (2000, 36), "uint8", "6234822049f1ebba18f3cfdbed4e36fb5ca874c0e3ee92d94ea15180eff167ae"
    ),
    "y_test": Spec(
        (2000,), "uint8", "cd06445ab3ff2ac3d2a53dfa34e7d996f68f312901504a7056df766466df8422"
    ),
}


def satimage() -> "Split":
    """Load the Landsat pixels.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shape (4435, 36), (4435,),
        (2000, 36) and (2000,). A row is the 3 x 3 neighbourhood of a pixel in 4 spectral
        bands, row by row, the four bands of a pixel side by side, in grey levels 0 to 157;
        its label, of `SATIMAGE_CLASSES`, belongs to the pixel in the middle (columns 16-19).

    Raises:
        DataError: the shipped file is missing or damaged.
    """
    arrays = read(FILES / "satimage.npz", SPECS)
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
