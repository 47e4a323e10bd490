"""Devices that are somewhere else: what is asked of them, and how it gets there and back.

    messages      requests and replies; the same bytes over every link
    links         what carries them: a device that can be asked

A device works on one request at a time. What it does with a request is `edgeprof.api.device_work`.
"""
