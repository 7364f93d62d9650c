"""What keeps uploads from working, looked for before somebody meets it.

``here`` looks at this computer, ``through`` at the road that peers take; ``proxies`` has the lines
that proxies lack.  Both only look: what they make they remove.
"""
