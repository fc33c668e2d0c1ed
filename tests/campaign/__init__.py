"""A campaign of hostile inputs: whatever hlens reads is damaged at random and read.

What passes is a right result, or one line that says what is wrong. Each file of `targets` is one
thing that hlens reads; `mutations` are the ways to damage it; `trials` runs and counts.

    make campaign ARGS="--seed 1 --inputs 10000"
"""
