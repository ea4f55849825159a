"""`python -m finetune`: hands over to the command line in `finetune.cli`."""

from finetune.cli import main

if __name__ == "__main__":
    main()
