"""What `python3 -m utils site` builds: the chapters, and pages to look things up."""
