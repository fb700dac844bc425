"""What `benchmarks/hosts.py` runs: other projects' own files with the drop-in classes of `rmvpe.hosts`.

One file per family of hosts; `table.py` lists them. Nothing here is a host's code: that is imported from the checkout.
"""
