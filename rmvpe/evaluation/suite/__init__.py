"""The stress set of `rmvpe evaluate --suite`: sounds whose f0 is exact, made by script, and scores on them."""
