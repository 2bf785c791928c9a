"""What all services share: requests, signatures, time, random ids, faults and the log."""
