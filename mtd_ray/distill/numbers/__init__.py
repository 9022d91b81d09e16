"""What training tells about itself."""
