"""What steers and shows a local cloud over HTTP: its own API below `/_alilocal/`, and the console at `/_console`."""
