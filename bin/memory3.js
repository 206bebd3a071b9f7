#!/usr/bin/env node
// Starts the command line on a Node.js that can run it. Plain JavaScript of 2020, so that an old Node.js reaches the
// message below instead of a syntax error.
//
// In a checkout the program is TypeScript (src/), in the published package JavaScript (dist/). Where the Node.js that
// runs this file is too old, the checkout's own (npm package "node", a development dependency) takes over.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const neededMajor = 24;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli', 'main.ts');
// Node.js does not strip types from files under node_modules.
const program =
  existsSync(source) && !root.includes(`${sep}node_modules${sep}`) ? source : join(root, 'dist', 'cli', 'main.js');

if (Number(process.versions.node.split('.')[0]) >= neededMajor) {
  // node:sqlite announces itself as experimental in some versions; other warnings are for the user to see.
  const [printWarning] = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name !== 'ExperimentalWarning') printWarning?.call(process, warning);
  });
  // As a URL: on Windows a path like C:\… would be read as the scheme "c".
  const { main } = await import(pathToFileURL(program).href);
  await main(process.argv);
} else {
  const own = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  if (existsSync(own)) {
    runWith(own);
  } else {
    console.error(
      `memory3 needs Node.js ${neededMajor} or newer; this is ${process.version}.\n` +
        'Install a newer one from https://nodejs.org, or, in a checkout, run "npm ci" first.',
    );
    process.exitCode = 1;
  }
}

/** Runs this file again with another Node.js: same terminal, same signals, same exit code. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl+C in a terminal goes to the child as well: once is enough.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => {
    console.error(`memory3 could not start ${node}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    if (signal === null) {
      process.exitCode = code ?? 1;
      return;
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
