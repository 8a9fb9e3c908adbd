"""Joins the parts into a running process: the server and the test caller."""
