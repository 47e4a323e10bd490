"""What the numbers mean: pure functions over records. No I/O, no plotting.

statistics   visits -> points: medians, intervals, the memory split
findings     points -> numbers worth telling: growth with length and size, precision against precision
sentences    findings -> words: the headlines and the caption of every figure of what was measured; `told` is behind it,
             and the modules named after it, each with what is said of one thing
placements   which provider ran what of a point: what has to be said of it before any time is
counted      ledgers -> words: the captions of figures of what was counted
ledger       closed forms and graph counts as ledgers; what overtakes what
why          two files of one run -> which is faster, from where on, and what makes it so; `operators` (the table of
             classes), `reasons` (the words) and `processor` are behind it
buckets      which static lengths waste least for requests of many lengths
claims       what is said of transformers, with a check for each; `checks`, `growth` and `fit` are behind it
"""
