"""Walking over a trace in both directions: the debugger, its two faces, and its sessions as text."""
