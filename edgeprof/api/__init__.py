"""The library: a file for each command, whose functions have the options and errors of that command."""
