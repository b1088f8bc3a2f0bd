"""What is wrong with an installation, and the one command against each problem.

A check is a function in a file of `checks/`, found by its file name. Nothing heavy is imported in this
process, nothing is changed, and nothing leaves the machine but one request to the hub.
"""
