/** The real command line evaluates dialogues of a tiny model, is killed while its judge is asked, and goes on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tinyModelFolder } from '../../test/support/evaluation.ts';
import { openJudgeServer, scoring } from '../../test/support/judge-server.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('eval dialogue prints scores; killed and run again it has the same; it stops with what came back', async () => {
  using folder = temporaryFolder();
  await using judge = await openJudgeServer(scoring);
  const model = ['--model', await tinyModelFolder(folder.path), '--no-adapter', '--threads', '1'];
  const start = (run: string, ...more: string[]) => {
    const flags = ['--run', join(folder.path, run), '--modes', 'none', '--limit', '3', '--max-tokens', '4', ...more];
    const child = spawn(
      process.execPath,
      [launcher, 'eval', 'dialogue', '--judge-url', judge.url, ...flags, ...model],
      {
        env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1', JUDGE_KEY: 'sk-secret', EMPTY: '' },
      },
    );
    const ended = Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number | NodeJS.Signals | null>((resolve) =>
        child.on('close', (code, signal) => resolve(signal ?? code)),
      ),
    ]);
    return { child, result: ended.then(([out, err, code]) => ({ out, err, code })) };
  };
  const whole = await start('whole', '--judge-key-env', 'JUDGE_KEY').result;
  assert.equal(whole.code, 0, whole.err);
  assert.match(whole.out, /^category +mode +first turn +second turn +both +questions/);
  assert.match(whole.out, /^all +none +\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\) .* 3 +cut off: 6$/m);
  assert.equal(judge.requests[0]?.headers.authorization, 'Bearer sk-secret');
  assert.ok(!whole.out.includes('sk-secret') && !whole.err.includes('sk-secret'));

  assert.match(whole.err, /^Report: .*report\.html$/m);

  const asked = judge.requests.length;
  const { child, result } = start('killed');
  judge.respond = (request) => {
    if (judge.requests.length < asked + 4) return scoring(request);
    child.kill('SIGKILL');
    return null;
  };
  assert.equal((await result).code, 'SIGKILL');
  judge.respond = scoring;
  const again = await start('killed', '--json').result;
  assert.equal(again.code, 0, again.err);
  const read = (run: string, file: string) => readFileSync(join(folder.path, run, file), 'utf8');
  for (const file of ['config.json', 'answers.jsonl', 'judgements.jsonl', 'summary.json', 'report.html']) {
    assert.equal(read('killed', file), read('whole', file), file);
    assert.ok(!read('whole', file).includes('sk-secret'));
  }
  const cells = again.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
  assert.deepEqual(cells, JSON.parse(read('killed', 'summary.json')));
  assert.equal(judge.requests.length, asked + 4 + 3, 'what had been judged was not asked again');

  judge.respond = () => ({ status: 401, body: 'Who are you, sk-secret?' });
  const refused = await start('refused', '--judge-key-env', 'JUDGE_KEY').result;
  assert.equal(refused.code, 7);
  assert.match(refused.err, /asked once and gave no score: HTTP 401: "Who are you, \[key\]\?"/);
  assert.equal(read('refused', 'answers.jsonl').split('\n').length, 2);

  const idle = await start('idle', '--kept', '8').result;
  assert.equal(idle.code, 2);
  assert.match(idle.err, /--kept: no mode has references/);

  const keyless = await start('none', '--judge-key-env', 'EMPTY').result;
  assert.equal(keyless.code, 2);
  assert.match(keyless.err, /variable EMPTY does not hold a key/);
});
