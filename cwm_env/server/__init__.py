"""Episodes over HTTP: thousands on one event loop, none lost to a dropped connection, no command run twice."""
