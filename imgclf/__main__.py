"""``python -m imgclf``: the same command as ``imgclf``."""

from imgclf.cli.app import main

if __name__ == "__main__":
    main()
