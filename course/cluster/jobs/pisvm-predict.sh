@SBATCH@

# Prediction of the slide "Parallel Support Vector Machine (SVM)". There: 4 nodes with 24 tasks each.
set -euo pipefail

### what the programs need
@SETUP@

### location of the data, and of the model that pisvm-train wrote
TESTDATA=@DATA@
MODELDATA=@MODEL@

### run: one predicted class per line goes to results.txt
@LAUNCH@ pisvm-predict "$TESTDATA" "$MODELDATA" "$TESTDATA.results.txt"
