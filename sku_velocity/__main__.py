"""Run the command line: `python -m sku_velocity`."""

from sku_velocity.cli.app import main

if __name__ == "__main__":
    main()
