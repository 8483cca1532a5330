"""`celreplay demo`: real captured calls on their way from a CEL file through the daemon to a receiver."""
