"""Classes that take the place of the RMVPE class of other projects: one file per family, named after its project.

Each has the constructor, the calls and the answers that its project uses, and computes with our estimator. The page
docs/hosts.md says which line of a project to change. torch is imported only where an answer must be a tensor of it.
"""
