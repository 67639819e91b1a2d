"""What the promises come to under faults: histories that clients log, a checker that judges them, faults that tempt.

``make chaos`` runs the long version, the tests of this folder a short one.
"""
