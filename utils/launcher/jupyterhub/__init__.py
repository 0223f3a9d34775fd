"""The course on a JupyterHub: settings of a room, the hub's configuration, its command.

README.md beside this file is the page for whoever sets one up.
"""
