@SBATCH@

# A whole notebook, from top to bottom. The engines that it starts run on the nodes of this job.
set -euo pipefail

### what the programs need
@SETUP@
export COURSE_PROFILE=local  # engines on this job's nodes, not in a job of their own

### run; the executed page is a notebook, too
@PYTHON@ -m course.cli run @DATA@ --output @OUTPUT@ @OPTIONS@
