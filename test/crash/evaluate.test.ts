/** Evaluations whose process is killed with SIGKILL: the last process leaves what one that was not killed leaves. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { evaluationData } from '../support/evaluation.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { evaluateInFolder } from './evaluate.ts';

const program = join(import.meta.dirname, 'evaluate.ts');

test('killed after a few batches, again and again, an evaluation ends with the same report', async (context) => {
  using data = evaluationData();
  using folder = temporaryFolder();
  const whole = join(folder.path, 'whole');
  await evaluateInFolder(folder.path, data.path, whole);
  const path = join(folder.path, 'killed');

  /** @param batches after which it is killed; @returns whether it was, before it ended by itself. */
  const evaluateAndKill = async (batches: number): Promise<boolean> => {
    const child = spawn(process.execPath, [program, folder.path, data.path, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.split('\n').length > batches) child.kill('SIGKILL');
    });
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (...ended) => resolve(ended)),
    );
    assert.ok(signal === 'SIGKILL' || code === 0, `it failed with exit code ${code}`);
    context.diagnostic(`${signal ?? 'ended'} after ${said.trim().split('\n').join(', ')}`);
    return signal === 'SIGKILL';
  };

  for (const batches of [1, 3]) assert.ok(await evaluateAndKill(batches), 'it ended before it was killed');
  assert.equal(await evaluateAndKill(Number.POSITIVE_INFINITY), false);
  for (const file of ['config.json', 'items.jsonl', 'summary.json']) {
    assert.equal(readFileSync(join(path, file), 'utf8'), readFileSync(join(whole, file), 'utf8'), file);
  }
});
