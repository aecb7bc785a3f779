"""What runs in the emulated hosts: senders, queueing servers, a web page, and the logs that they write."""
