"""What the class report is made of: reading, counting, showing, running again."""
