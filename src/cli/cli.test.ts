import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));
let home = '';

before(async () => {
  home = await mkdtemp(join(tmpdir(), 'memory3-cli-'));
});
after(async () => {
  await rm(home, { recursive: true, force: true });
});

interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the real command line in its own home. */
async function memory3(args: readonly string[], nodeArgs: readonly string[] = []): Promise<Finished> {
  const child = spawn(process.execPath, [...nodeArgs, launcher, ...args], {
    env: { ...process.env, MEMORY3_HOME: home, MEMORY3_OFFLINE: '1', NO_COLOR: undefined, MEMORY3_DEBUG: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out, err };
}

test('--help lists every command and the exit codes; each command has examples', async () => {
  const { code, out, err } = await memory3(['--help']);
  assert.equal(code, 0);
  assert.equal(err, '');
  assert.match(out, /Exit codes:[\s\S]*130 interrupted/);
  const names = [...out.matchAll(/^ {2}([a-z]+) (?:\[|<)/gm)].map((match) => match[1] as string);
  assert.ok(names.includes('pull'));
  for (const name of names.filter((name) => name !== 'help')) {
    const help = await memory3([name, '--help']);
    assert.equal(help.code, 0, name);
    assert.match(help.out, new RegExp(`Examples:\n  \\$ memory3 ${name}`), name);
    assert.match(help.out, /--json/, name);
  }
});

test('wrong use exits with 2, names what is wrong, and leaves stdout empty', async () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: memory3/],
    [['nope'], /unknown command 'nope'/],
    [['pull', '--bogus'], /unknown option '--bogus'/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await memory3(args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(out, '', args.join(' '));
    assert.match(err, message);
  }
});

test('an error is a message and a remedy, without a stack, and its kind is the exit code', async () => {
  const missing = await memory3(['pull', 'no-such-model']);
  assert.equal(missing.code, 3);
  assert.match(missing.err, /^error: There is no model "no-such-model"[\s\S]*Known names: /);
  assert.doesNotMatch(missing.err, /\n {4}at /);
  const offline = await memory3(['pull', '--json']);
  assert.equal(offline.code, 7);
  assert.equal(offline.out, '');
});

test('--json prints one JSON object a line and nothing else; without a terminal there are no colours', async () => {
  const { code, out } = await memory3(['pull', '--list', '--json']);
  assert.equal(code, 0);
  const models = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; state: string });
  assert.ok(models.length >= 2);
  for (const model of models) assert.equal(model.state, 'missing');
  const text = await memory3(['pull', '--list']);
  assert.ok(!text.out.includes('\u001b'));
  assert.match(text.out, new RegExp(models[0]?.name as string));
});

test('under an old Node.js the launcher hands over to the checkout’s own, with arguments and exit code', async () => {
  const old = `Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.0.0'}})`;
  const asOld = ['--import', `data:text/javascript,${encodeURIComponent(old)}`];
  const version = await memory3(['--version'], asOld);
  assert.deepEqual({ ...version, out: '' }, { code: 0, out: '', err: '' });
  assert.match(version.out, /^\d+\.\d+\.\d+\n$/);
  assert.equal((await memory3(['pull', 'no-such-model'], asOld)).code, 3);
});
