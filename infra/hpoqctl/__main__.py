"""Run the command `hpoq` as `python -m hpoqctl`, for where its script is not on the PATH."""

from hpoqctl import main

if __name__ == "__main__":
    main()
