"""The code package for Function Compute, built on any machine. Nothing of this is deployed.

    platform ──▶ wheels ──▶ contents ──▶ the zip
                   │           └──▶ bytecode ──▶ the zip
                   └──▶ the lock, and sbom: the bill of materials

`platform` has the runtimes and architectures. `wheels` lets pip download the dependencies for one of them. `contents`
selects the files of the package and writes the zip. `bytecode` compiles them with the runtime's version of Python.
"""
