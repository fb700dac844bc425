"""Reading sound files: what a file is, what it holds, which reader decodes it, and how its channels become one.

`rmvpe.audio` is the door to this room.
"""
