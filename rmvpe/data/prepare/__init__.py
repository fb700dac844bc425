"""Making a Hybrid folder from a published data set: download, archives, conversion, the output folder."""
