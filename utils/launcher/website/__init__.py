"""What `python3 -m utils site` builds: chapters as pages, and pages to look things up."""
