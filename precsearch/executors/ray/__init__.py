"""Devices of a Ray cluster: an actor for each service, behind the executor seam.

An actor is a hand on another node: it starts the same subprocess there that a search on one machine
starts, and passes calls on. So a crash of an engine is seen, attributed and bounded in time on its
node, as everywhere. What is left to Ray is to place actors and to notice that a node is gone. No
call is retried by Ray: what killed a device must not be built again.
"""
