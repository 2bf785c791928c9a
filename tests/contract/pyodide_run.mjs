// Runs tests on a CPython that was built for WebAssembly (the npm package pyodide), with this machine's files mounted:
//   node pyodide_run.mjs NODE_MODULES REPOSITORY SITE_PACKAGES TEST...
// It ends with pytest's exit status. pytest itself, and what else is pure Python, comes from SITE_PACKAGES.
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, repository, packages, ...tests] = process.argv.slice(2);
const folder = path.join(modules, "pyodide");
const { loadPyodide } = await import(pathToFileURL(path.join(folder, "pyodide.mjs")));
const python = await loadPyodide({ indexURL: folder + path.sep });
for (const [root, place] of [[repository, "/repository"], [packages, "/packages"]]) {
  python.FS.mkdirTree(place);
  python.FS.mount(python.FS.filesystems.NODEFS, { root }, place);
}
python.globals.set("tests", python.toPy(tests));
const status = await python.runPythonAsync(`
import os, sys
sys.dont_write_bytecode = True
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
os.chdir("/repository")
sys.path[:0] = ["/repository/functions", "/repository/tests"]
sys.path.append("/packages")
import pytest
print(sys.version)
int(pytest.main([*tests, "-q", "--noconftest", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "ignore"]))
`);
process.exit(status);
