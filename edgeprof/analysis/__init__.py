"""What the numbers mean: pure functions over records. No I/O, no plotting.

statistics        visits -> points: medians, intervals, the split of memory
findings          points -> comparable numbers: growth with length and size, precision against precision
captions          findings -> text: the headlines of a report and the caption of every measured figure; the sentences
                  are in `narrative`, a module for each subject
placement         points -> text: which provider ran which share, and which results are wrong
explain_captions  ledgers -> text: the captions of figures of counted quantities
ledger            closed forms and graph counts as ledgers; crossovers between components
why               two files of one run -> which is faster, at which lengths, and which operators account for it; uses
                  `operator_classes` (the table), `why_text` (the sentences) and `processor` (int8 instructions)
compare           B against A: ratios of times with intervals, from rounds in which both were visited or from two runs
buckets           static lengths with the least padding for requests of many lengths
laws              time over token length as formulas, and where lines cross; `module_crossover` does so for modules
verdict           how far a point can be trusted, and when it was visited enough; uses `disturbance` and `repetition`
roofline          what a probe says of a device, and modules against it
claims            claims about transformers, each with its check; uses `claim_checks`, `growth` and `fit`
"""
