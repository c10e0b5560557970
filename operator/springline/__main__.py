"""`python -m springline` is `springline`."""

from springline.entry import springline

if __name__ == "__main__":
    springline()
