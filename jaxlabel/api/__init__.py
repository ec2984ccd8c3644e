"""The functions and classes that `import jaxlabel` offers: `fit`, `load`, `Session`, `Result`."""
