"""The notebooks on a cluster: Slurm, an emulated DAM, a site's settings.

- `course.cluster.dam`: a real Slurm of four emulated DAM nodes on this machine.
- `course.cluster.site`: what differs from one cluster to the next, in one file.
- `course.cluster.slurm`: submit, watch and cancel jobs, with errors that say what to do.
- `course.cluster.batch`: the lecture's job scripts, and notebooks as jobs.
- `course.cluster.pipeline`: one task as dependent jobs on several modules.
"""
