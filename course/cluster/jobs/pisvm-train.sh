@SBATCH@

# Training of the slide "Parallel Support Vector Machine (SVM)". There: 4 nodes with 24 tasks each.
set -euo pipefail

### what the programs need
@SETUP@

### location of the data: libsvm's text format, every feature on every line (-D)
TRAINDATA=@DATA@

### run: -t 2 RBF kernel, -g gamma, -c C, -o working set, -q new variables a step, -m cache in MB
@LAUNCH@ pisvm-train -D -o 1024 -q 512 -c 100 -g 8 -t 2 -m 1024 -s 0 "$TRAINDATA" "$TRAINDATA.model"
