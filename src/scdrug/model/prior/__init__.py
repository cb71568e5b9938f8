"""What is expected of lines and drugs before any network: kernels, ridge regression, completion and coupled processes.

Arrays in, arrays out: nothing here knows a model.
"""
