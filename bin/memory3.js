#!/usr/bin/env node
// Starts the command line on a Node.js that can run it. Plain JavaScript of 2020, so that an old Node.js reaches the
// message below instead of a syntax error.
//
// In a checkout the program is TypeScript (src/), in the published package JavaScript (dist/). Where the Node.js that
// runs this file is too old, the checkout's own (npm package "node", a development dependency) takes over.
//
// ONNX Runtime reads its process's command line in a way that overflows the stack where it is long (10 KB and more, as an
// unquoted glob makes it). So a long one goes to a process of its own, through a pipe.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const neededMajor = 24;
/** Bytes of arguments that a process may have. */
const longestCommandLine = 8192;
/** Where arguments come from instead. */
const argumentsPipe = 3;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli', 'main.ts');
// Node.js does not strip types from files under node_modules.
const program =
  existsSync(source) && !root.includes(`${sep}node_modules${sep}`) ? source : join(root, 'dist', 'cli', 'main.js');

const isPiped = process.env.MEMORY3_ARGUMENTS === 'piped';
const isLong = Buffer.byteLength(process.argv.slice(2).join(' ')) > longestCommandLine;

if (Number(process.versions.node.split('.')[0]) < neededMajor) {
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
} else if (isLong) {
  runWith(process.execPath);
} else {
  if (isPiped) {
    // Not for the processes that this one starts.
    delete process.env.MEMORY3_ARGUMENTS;
    process.argv.push(...JSON.parse(readFileSync(argumentsPipe, 'utf8')));
  }
  // node:sqlite announces itself as experimental in some versions; other warnings are for the user to see.
  const [printWarning] = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name !== 'ExperimentalWarning') printWarning?.call(process, warning);
  });
  // As a URL: on Windows a path like C:\… would be read as the scheme "c".
  const { main } = await import(pathToFileURL(program).href);
  await main(process.argv);
}

/** Runs this file again in a process of its own: same terminal, same signals, same exit code. */
function runWith(node) {
  const file = fileURLToPath(import.meta.url);
  const given = process.argv.slice(2);
  const child = isLong
    ? spawn(node, [...(node === process.execPath ? process.execArgv : []), file], {
        stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
        env: { ...process.env, MEMORY3_ARGUMENTS: 'piped' },
      })
    : spawn(node, [file, ...given], { stdio: 'inherit' });
  if (isLong) child.stdio[argumentsPipe].end(JSON.stringify(given));
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
