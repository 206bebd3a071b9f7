/** Adaptations whose process is killed with SIGKILL: the last process leaves what one that was not killed leaves. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { adapt } from '../../src/evaluate/adapt/adapt.ts';
import { adaptationData } from '../support/adaptation.ts';
import { tinyModelFolder } from '../support/evaluation.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { adaptationRequest } from './adapt.ts';

const program = join(import.meta.dirname, 'adapt.ts');

test('killed while filling a bank, training and asking, an adaptation ends with the same report', async (context) => {
  using data = adaptationData();
  using folder = temporaryFolder();
  const model = await tinyModelFolder(folder.path);
  const whole = join(folder.path, 'whole');
  await adapt(adaptationRequest(model, data.path, whole));
  const path = join(folder.path, 'killed');

  /** @param word after which it is killed, if it comes; @returns whether it was */
  const adaptAndKill = async (word: string): Promise<boolean> => {
    const child = spawn(process.execPath, [program, model, data.path, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes(`${word}\n`)) child.kill('SIGKILL');
    });
    const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (...ended) => resolve(ended)),
    );
    assert.ok(signal === 'SIGKILL' || code === 0, `it failed with exit code ${code}`);
    context.diagnostic(`${signal ?? 'ended'} after ${said.trim().split('\n').join(', ')}`);
    return signal === 'SIGKILL';
  };

  for (const word of ['index policies 4', 'step policies 3', 'answer policies 2', 'step textbook 5']) {
    assert.ok(await adaptAndKill(word), `it ended before it was killed after "${word}"`);
  }
  assert.equal(await adaptAndKill('never'), false);
  for (const file of ['config.json', 'answers.jsonl', 'summary.json']) {
    assert.equal(readFileSync(join(path, file), 'utf8'), readFileSync(join(whole, file), 'utf8'), file);
  }
});
