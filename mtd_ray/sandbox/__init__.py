"""What a laptop needs in place of the cloud: an S3 server, a provider server, a local cluster."""
