"""`snflow serve`: Prefect's server, its schedule and its runs on one machine.

serve          the loop, in a process that imports neither Prefect nor torch, and outlives the others
plan           what it needs of the site file, read in a process of its own
api            the requests it sends to the server
server_process Prefect's server: its process and its settings
runs           starts what is due, one at a time, watches it, and says what became of it
flow_process   one run

The processes of server and runs end with their parent, also when it is killed.
"""
