"""What applications use: the Openline object, its handlers, and how it is served."""
