"""Print which library computes convolutions here: `python -m jaxlabel.nets.native`."""

from jaxlabel.nets.native import select

if __name__ == "__main__":
    print(select("auto"))
