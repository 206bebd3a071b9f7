/** Training runs whose process is killed at any moment, or whose disk is full: the next process ends as if nothing had been. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readRunLog } from '../../src/train/log.ts';
import { readRunCheckpoint } from '../../src/train/run-folder.ts';
import { comparableLog } from '../support/small-network.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';
import { bytesFrom } from './library.ts';
import { trainInFolder } from './train.ts';

const program = join(import.meta.dirname, 'train.ts');
let folder: TemporaryFolder;
let whole = '';

before(async () => {
  folder = temporaryFolder();
  whole = join(folder.path, 'whole');
  await trainInFolder(whole);
});
after(() => folder[Symbol.dispose]());

function assertSame(path: string): void {
  assert.deepEqual(comparableLog(path), comparableLog(whole));
  for (const which of ['last', 'best'] as const) {
    assert.deepEqual(readRunCheckpoint(path, which).state, readRunCheckpoint(whole, which).state);
  }
}

/** @returns true if it was killed, false if it ended by itself before. */
async function trainAndKill(path: string, milliseconds: number, from: 'start' | 'first step'): Promise<boolean> {
  const child = spawn(process.execPath, [program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  let timer: NodeJS.Timeout | undefined;
  const kill = () => {
    timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  };
  if (from === 'start') kill();
  else child.stdout.once('data', kill);
  child.stdout.resume();
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.on('close', (...ended) => resolve(ended)),
  );
  clearTimeout(timer);
  assert.ok(signal === 'SIGKILL' || code === 0, `training failed with exit code ${code}`);
  return signal === 'SIGKILL';
}

test('killed eight times at any moment, a run ends with the log and the state of one that was not', async (context) => {
  const path = join(folder.path, 'killed');
  for (let kill = 0; kill < 8; kill++) {
    const moment = new DataView(bytesFrom(`training ${kill}`, 4).buffer).getUint32(0) / 2 ** 32;
    // Every fourth while it starts, the others while it trains.
    const starting = kill % 4 === 3;
    const killed = await trainAndKill(path, moment * (starting ? 500 : 150), starting ? 'start' : 'first step');
    assert.ok(killed, `it ended before kill ${kill}`);
    const steps = readRunLog(join(path, 'log.jsonl')).filter(({ kind }) => kind === 'step');
    context.diagnostic(`kill ${kill} ${starting ? 'while it started' : ''} after ${steps.length} steps`);
  }
  assert.equal(await trainAndKill(path, 60_000, 'first step'), false);
  assertSame(path);
});

test('a disk that is full leaves the last checkpoint; with space the run goes on', async () => {
  const path = join(folder.path, 'full');
  await trainAndKill(path, 50, 'first step');
  // What a killed run had begun to write is removed by the next one.
  const checkpoints = () => readdirSync(path).filter((name) => /^checkpoint.*\.safetensors$/.test(name));
  const before = checkpoints();
  // No file may grow beyond 40 KB: the log has room, a checkpoint (84 KB) has not.
  const shell = ['-c', `trap '' XFSZ; ulimit -f 40; exec "$0" "$1" "$2"`, process.execPath, program, path];
  const child = spawn('bash', shell, { stdio: ['ignore', 'ignore', 'pipe'] });
  let message = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (message += text));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.notEqual(code, 0);
  assert.match(message, /Memory3Error: .*\.safetensors cannot be written[\s\S]*has space left/);
  assert.deepEqual(checkpoints(), before);
  assert.ok(!readdirSync(path).some((name) => name.endsWith('.unfinished')));
  assert.equal(await trainAndKill(path, 60_000, 'first step'), false);
  assertSame(path);
});
