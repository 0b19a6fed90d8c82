@SBATCH@

# One step of a pipeline. It notes when it ran, for the figure.
set -euo pipefail
date +%s.%N > @STEP@.started
trap 'date +%s.%N > @STEP@.ended' EXIT

### what the programs need
@SETUP@

### run
@COMMAND@
