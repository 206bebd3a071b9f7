import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { fetchModel } from '../hub/fetch.ts';
import { modelsFolder } from '../hub/home.ts';

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
async function memory3(
  args: readonly string[],
  nodeArgs: readonly string[] = [],
  streams: readonly ['pipe' | number, 'pipe' | number] = ['pipe', 'pipe'],
): Promise<Finished> {
  const child = spawn(process.execPath, [...nodeArgs, launcher, ...args], {
    env: { ...process.env, MEMORY3_HOME: home, MEMORY3_OFFLINE: '1', NO_COLOR: undefined, MEMORY3_DEBUG: undefined },
    stdio: ['ignore', ...streams],
  });
  let out = '';
  let err = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (err += text));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out, err };
}

test('--help lists every command and the exit codes; each command has examples', async () => {
  const { code, out, err } = await memory3(['--help']);
  assert.equal(code, 0);
  assert.equal(err, '');
  assert.match(out, /Exit codes:[\s\S]*130 interrupted/);
  const names = [...out.slice(out.indexOf('Commands:')).matchAll(/^ {2}([a-z]+) .*/gm)].map(
    (match) => match[1] as string,
  );
  assert.ok(names.includes('pull'));
  const commands = names.filter((name) => name !== 'help');
  assert.equal(commands.length, 18);
  const helps = await Promise.all(commands.map((name) => memory3([name, '--help'])));
  for (const [index, help] of helps.entries()) {
    const name = commands[index] as string;
    assert.equal(help.code, 0, name);
    assert.match(help.out, new RegExp(`Examples:\n  \\$ memory3 ${name}`), name);
    assert.match(help.out, /--json/, name);
    for (const [, called] of help.out.matchAll(/\bmemory3 ([\w-]+)/g))
      assert.ok(commands.includes(called ?? ''), called);
  }
});

test('wrong use exits with 2, names what is wrong, and leaves stdout empty', async () => {
  const cases: [string[], RegExp][] = [
    [[], /Usage: memory3/],
    [['nope'], /unknown command 'nope'/],
    [['pull', '--bogus'], /unknown option '--bogus'/],
    [['pull', '--list', 'a', 'b'], /a, b: --list lists all models/],
    [['ask', '--kept', 'some', 'x'], /'some' is invalid. A whole number from 1 to 128 is expected, or "all"/],
    [
      ['eval', '--overlap', '', '--run', 'x'],
      /'--overlap <share>' argument '' is invalid. A number is expected, or "none"/,
    ],
    [['ask', '--memories', 'five', 'x'], /'--memories <n>' argument 'five' is invalid. A number is expected/],
    [['ask', '--temperature', '-1', 'x'], /'--temperature <t>' argument '-1' is invalid/],
    [['ask', '--stop', 'a', '--stop', '', 'x'], /'--stop <text>' argument '' is invalid. It must not be empty/],
    [['ask', '--kept', '0', 'x'], /'--kept <n>' argument '0' is invalid/],
    [['ask', '--rag', '--no-memory', 'x'], /'--rag' cannot be used with option '--no-memory'/],
    [['ask', '--explain', '--no-memory'], /'--explain \[file.html\]' cannot be used with option '--no-memory'/],
    [['ask', 'x', '--explain', '--rag'], /cannot be used with option '--rag'|'--rag' cannot be used/],
    [['ask', 'Who', 'is', '--explain', 'the'], /"the" is no name of an HTML file/],
    [['ask', '--device', 'abacus', 'x'], /'--device <provider>' argument 'abacus' is invalid. Allowed choices/],
    [['ask', '--bank', '../', ''], /What is the question/],
    [['ask', 'x', '--seed', '7', '--top-k', '5'], /--top-k, --seed: with --temperature 0 nothing is drawn/],
    [['ask', 'x', '--no-memory', '--bank', 'a', '--kept', '4'], /--bank, --kept: with --no-memory nothing is recalled/],
    [['chat', '--min-p', '0.1', '--temperature', '0'], /--min-p: with --temperature 0/],
    [['add', 'notes/', '--stdin-name', 'x'], /--stdin-name: standard input is none of the sources/],
    [['rewrite', 'a', '--bank', 'b'], /--bank: the argument "a" names the bank already/],
    [['stats', 'a', '--bank', 'b'], /--bank: the argument "a" names the bank already/],
    [['verify', 'a', '--bank', 'b'], /--bank: the argument "a" names the bank already/],
    [['show', 'a.txt', '--reference', '3'], /"a\.txt": one reference is shown with --reference/],
    [['show', '--text', '--reference', '3'], /--text: one reference is shown with --reference/],
    [['list', '--bank', '?'], /"\?" is no name for a bank/],
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
  const page = await memory3(['ask', 'Who?', '--explain', join(home, 'absent', 'why.html')]);
  assert.equal(page.code, 10);
  assert.match(page.err, /cannot be written to .*why\.html\.\n.*folder that exists/);
  const offline = await memory3(['pull', '--json']);
  assert.equal(offline.code, 7);
  assert.equal(offline.out, '');
});

test('a bank or file that is not there is said before a model is fetched, and leaves nothing behind', async () => {
  const noBank = /There is no memory bank at .*absent\.memory3/;
  for (const [command, message] of [
    [['ask', 'Who?', '--bank', 'absent'], noBank],
    [['rewrite', 'absent'], noBank],
    [['add', 'no-such-file.txt', '--bank', 'absent'], /no file, folder or glob .*"no-such-file\.txt"/],
  ] as const) {
    const { code, err } = await memory3(command);
    assert.equal(code, 3, err);
    assert.match(err, message);
  }
  assert.equal(existsSync(join(home, 'banks')), false);
});

test('output that cannot be written is an error without a stack; messages that cannot be written change nothing', {
  skip: !existsSync('/dev/full'),
}, async () => {
  const full = openSync('/dev/full', 'w');
  after(() => closeSync(full));
  const noOutput = await memory3(['pull', '--list'], [], [full, 'pipe']);
  assert.equal(noOutput.code, 10);
  assert.match(noOutput.err, /^error: The output cannot be written: ENOSPC/);
  assert.doesNotMatch(noOutput.err, /\n {4}at /);
  assert.equal((await memory3(['pull', 'no-such-model'], [], ['pipe', full])).code, 3);
});

test('--json prints one JSON object a line and nothing else; without a terminal there are no colours', async () => {
  const { code, out } = await memory3(['pull', '--list', '--json']);
  assert.equal(code, 0);
  const models = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; use: string; state: string });
  assert.ok(models.length >= 3);
  // Adapters ship with the project.
  for (const { use, state } of models) assert.equal(state, use === 'adapter' ? 'ready' : 'missing');
  const text = await memory3(['pull', '--list']);
  assert.ok(!text.out.includes('\u001b'));
  assert.match(text.out, new RegExp(models[0]?.name as string));
});

test('a long command line is no other than a short one', async () => {
  const model = fileURLToPath(new URL('../../test/golden/families/llama', import.meta.url));
  const args = ['ask', '--no-memory', '--no-adapter', '--offline', '--model', model];
  for (const words of [2000, 20_000]) {
    const { code, err } = await memory3([...args, 'Why so long? '.repeat(words / 3)]);
    assert.deepEqual([code, /^error: .*too long|tokens/m.test(err)], [9, true], err.slice(0, 300));
  }
});

test('under an old Node.js the launcher hands over to the checkout’s own, with arguments and exit code', async () => {
  const old = `Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.0.0'}})`;
  const asOld = ['--import', `data:text/javascript,${encodeURIComponent(old)}`];
  const version = await memory3(['--version'], asOld);
  assert.deepEqual({ ...version, out: '' }, { code: 0, out: '', err: '' });
  assert.match(version.out, /^\d+\.\d+\.\d+\n$/);
  assert.equal((await memory3(['pull', 'no-such-model'], asOld)).code, 3);
});

test('a bank from adding to removing: each command says in JSON what it did', async () => {
  for (const model of [defaultLanguageModel, defaultEmbedder]) await fetchModel(model);
  await symlink(modelsFolder(), join(home, 'models'));
  const file = join(home, 'bees.txt');
  await writeFile(file, 'The queen of the bees at Kelmscott is called Isolde. She was born in May.');
  const lines = ({ out }: Finished) =>
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const ok = async (...args: string[]) => {
    const finished = await memory3([...args, '--json']);
    assert.equal(finished.code, 0, finished.err);
    return lines(finished);
  };
  const list = <Item>(line: Record<string, unknown> | undefined, field: string) => line?.[field] as Item[];

  const added = await ok('add', file);
  assert.deepEqual(
    added.map(({ kind }) => kind),
    ['document', 'memories', 'end'],
  );
  assert.equal(added[0]?.outcome, 'added');
  assert.equal(added[2]?.references, 1);
  const [known, end] = await ok('add', file);
  assert.deepEqual([known?.outcome, known?.references, end?.references], ['unchanged', 1, 0]);

  const [listed] = await ok('list');
  const name = listed?.name as string;
  assert.equal(listed?.memories, 1);
  const [shown] = await ok('show', name);
  for (const { memoryBytes } of list<{ memoryBytes: number }>(shown, 'references')) assert.ok(memoryBytes > 0);
  assert.equal((await ok('stats'))[0]?.memories, 1);
  assert.equal((await ok('verify')).at(-1)?.problems, 0);

  const question = ['ask', 'What is the queen called?', '--max-tokens', '8'];
  const drawn = [...question, '--temperature', '0.8', '--seed', '1'];
  const [answered] = await ok(...drawn);
  assert.deepEqual(
    list<{ document: string }>(answered, 'citations').map(({ document }) => document),
    [name],
  );
  assert.equal((await ok(...drawn))[0]?.text, answered?.text, 'the same seed');
  assert.deepEqual((await ok(...question, '--no-memory'))[0]?.citations, []);
  const other = await memory3([...question, '--kept', '4']);
  assert.equal(other.code, 6);
  assert.match(other.err, /memory3 rewrite/);

  await ok('export', join(home, 'export.gz'));
  await ok('import', join(home, 'export.gz'), '--bank', 'copy');
  assert.equal((await ok('stats', 'copy'))[0]?.memories, 1);
  await ok('rewrite', 'copy', '--layers', 'last-2', '--kept', '4');
  const [few] = await ok(...question, '--bank', 'copy');
  assert.equal(list(few, 'citations').length, 1, 'what the bank was written with need not be said again');

  assert.equal((await memory3(['remove', 'nobody'])).code, 3);
  assert.equal((await ok('remove', name))[0]?.removed, true);
  assert.equal((await memory3(['show', name])).code, 3);
  const empty = await memory3([...question]);
  assert.equal(empty.code, 0);
  assert.match(empty.err, /bank holds no references/i);
});
