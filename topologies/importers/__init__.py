"""Topologies from elsewhere: each format is read into one survey, and a survey is fitted into a scenario."""
