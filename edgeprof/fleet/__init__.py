"""Devices that are somewhere else: what is asked of them, and how it gets there and back.

    messages      requests and replies; the same bytes over every link
    links         what carries them: a device that can be asked
    inventory     fleet.toml: the devices that a user has, by name
    opening       links to the devices of a run
    pipe          a process that greets and is then asked over its standard input
    frames        how messages follow each other there
    pipe_link     a device behind such a process: a child here, or ssh
    ssh_link      that process as ssh
    dask_link     devices behind one process for all: `dask_client`, with `dask_messages` between them
    agent         on the device: a worker of Dask
    scheduler     what agents join and requests go through
    dask_process  what these three share: restricted unpickling, nothing at intervals, TLS
    certificates  a private authority, and a certificate for each device

A device works on one request at a time. What it does with a request is `edgeprof.api.device_work`.
"""
