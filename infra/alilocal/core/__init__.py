"""What every service stands on: requests, signatures, time, chance, faults and the log."""
