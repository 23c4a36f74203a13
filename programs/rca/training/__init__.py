"""How the model of the RCA programs is made: incidents, prompts, tokenizer, training, and the checks on all of it.

    python -m semlang.programs.rca.training.train --out FOLDER --compile      # hours on one core; goes on if stopped
    python -m semlang.programs.rca.training.disjoint [FILE.jsonl …]           # what training and evaluation share

`worlds.py` makes up companies and their incidents, `questions.py` and `inquiries.py` ask what the semantic functions of
the programs ask, `teacher.py` lets the compiler make the prompts, `batches.py` puts them in the order of a course,
`network.py` and `train.py` learn. The result, `FOLDER/model`, is what `programs/rca/model` holds: docs/rca-model.md.
"""
