@SBATCH@

# Clustering with HPDBSCAN (slide "Data Science Applications for HPC"): MPI ranks and OpenMP-like
# threads. The labels are written into the input file, as data set CLUSTERS.
set -euo pipefail

### what the programs need
@SETUP@

### location of the data: HDF5, data set DATA, one row per point
POINTS=@DATA@

### run: at least 40 points within 0.02 make a core point
@LAUNCH@ hpdbscan -m 40 -e 0.02 -i "$POINTS"
