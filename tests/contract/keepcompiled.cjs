// Keeps what Node.js compiles for a program in the folder V8_COMPILE_CACHE_CACHE_DIR, for its next call:
//   NODE_PATH=NODE_MODULES node --require keepcompiled.cjs PROGRAM
// The package names its file after the working folder; with one name, calls in all folders share it.
const { cwd } = process;
process.cwd = () => 'shared';
require('v8-compile-cache');
process.cwd = cwd;
