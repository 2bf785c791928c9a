"""Run the command `hpoq` as `python -m hpoqctl`, for machines on which the script is not on the PATH."""

from hpoqctl import main

if __name__ == "__main__":
    main()
