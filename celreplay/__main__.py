"""`python -m celreplay` is the command `celreplay`."""

from celreplay.cli import main

if __name__ == "__main__":
    main()
