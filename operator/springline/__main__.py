"""`python -m springline` is `springline`."""

from springline.cli import main

if __name__ == "__main__":
    main()
