"""Running, measuring, predicting and reporting: the command line and the result file."""
