"""Offline preprocessing: raw clips to record data sets, once per data set."""
