"""What goes over the pipe between links to agents and the client of Dask that they share: MessagePack, in frames."""

import msgspec


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Have an agent answer a request. The number is the request's from then on."""

    number: int
    agent: str
    request: bytes


class TakeBack(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for the reply of a request any more."""

    number: int


class Answered(msgspec.Struct, frozen=True, tag=True):
    number: int
    reply: bytes


class Lost(msgspec.Struct, frozen=True, tag=True):
    """Why a request has no reply."""

    number: int
    what: str
    next_step: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """Why the client ends, and no request that it works on has a reply."""

    what: str
    next_step: str


ToClient = Ask | TakeBack
ToLinks = Answered | Lost | Ended
