@SBATCH@

# Data-parallel training of a Keras model with Horovod (slide "Distributed Training via Multi
# GPUs with Horovod"): one rank per GPU, or several ranks on the cores of a node.
set -euo pipefail

### what the programs need
@SETUP@
export TF_CPP_MIN_LOG_LEVEL=2

### run: MNIST comes with the course, so that nothing has to be downloaded on a batch node
@LAUNCH@ @PYTHON@ -m mpi4py -m course.deep.train ann --epochs 20 --batch-size 128 --output @DATA@
