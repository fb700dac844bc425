"""Making a Hybrid folder from a published data set: archives, conversion, the output folder."""
