/** The real command line measures a tiny model's speed, surveys its heads and chooses its memory layers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel } from '../../test/support/tiny-trained.ts';
import type { SpeedReport } from '../evaluate/speed.ts';
import { saveModel } from '../train/scratch/save-model.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

test('bench heads goes on with its log; bench layers measures the range that it shows', async () => {
  using folder = temporaryFolder();
  const bench = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'bench', ...args], {
      env: { ...process.env, MEMORY3_HOME: folder.path, MEMORY3_OFFLINE: '1' },
      encoding: 'utf8',
    });
    const lines = stdout.split('\n').filter((line) => line !== '');
    return { code: status, err: stderr, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  };
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  const common = ['--model', model, '--threads', '1', '--json'];
  const passage = 'The answer to the question of the theory is a thing. '.repeat(2).trim();
  const texts = folder.write(
    'texts.jsonl',
    `${JSON.stringify({ text: 'Short.' })}\n${JSON.stringify({ text: passage })}\n`,
  );

  const log = join(folder.path, 'heads.jsonl');
  const survey = [
    'heads',
    '--texts',
    texts,
    '--sequences',
    '1',
    '--length',
    '40',
    '--local',
    '4',
    '--log',
    log,
    ...common,
  ];
  const first = bench(...survey, '--only', '1:2,1');
  assert.equal(first.code, 0, first.err);
  assert.match(first.err, /1 texts were passed over/);
  assert.deepEqual(
    first.lines.map(({ kind, layer, head }) => [kind, layer, head]),
    [
      ['baseline', undefined, undefined],
      ['restricted', 1, 2],
      ['restricted', 1, null],
      ['report', undefined, undefined],
    ],
  );
  const whole = bench(...survey);
  assert.equal(whole.code, 0, whole.err);
  assert.deepEqual(whole.lines.slice(0, 3), first.lines.slice(0, 3));
  assert.equal(whole.lines.length, 1 + config.layers * (config.heads + 1) + 1);
  assert.equal((whole.lines.at(-1) as { heads: unknown[] }).heads.length, config.layers * config.heads);
  assert.equal(bench(...survey, '--only', 'first').code, 2);

  // The heads of a random model do nothing beyond noise: without it, those whose rise is above 0 carry theirs.
  const certain = folder.write('certain.jsonl', readFileSync(log, 'utf8').replaceAll(/"error":[^}]+/g, '"error":0'));
  const contexts = folder.write('contexts.jsonl', `${JSON.stringify({ context_id: 1, text: passage })}\n`);
  const answer = 'a thing';
  const place = { answers: [answer], answer_starts: [passage.indexOf(answer)] };
  const question = { id: 1, question: 'What?', context_id: 1, ...place };
  const questions = folder.write('questions.jsonl', `${JSON.stringify(question)}\n`);
  const sweep = ['layers', '--contexts', contexts, '--questions', questions, ...common];
  const layers = bench(...sweep, '--survey', certain);
  assert.equal(layers.code, 0, layers.err);
  const decision = layers.lines.at(-1) as {
    kind: string;
    chosen: { layers: number[] };
    candidates: { choice: string }[];
  };
  assert.equal(decision.kind, 'decision');
  assert.ok(decision.chosen.layers.length > 0);
  assert.deepEqual(decision.candidates.map(({ choice }) => choice).sort(), ['all', 'first-half', 'middle']);

  const fewer = bench(...sweep, '--fewer', '2', '--layers', 'all');
  assert.equal(fewer.code, 0, fewer.err);
  const report = fewer.lines.at(-1) as { kind: string; needed: { layer: number }[]; sizes: { kept: number }[] };
  assert.equal(report.kind, 'fewer');
  assert.deepEqual(report.needed.map(({ layer }) => layer).sort(), [...Array(config.layers).keys()]);
  assert.deepEqual([report.sizes[0]?.kept, report.sizes.at(-1)?.kept], [2, 2 * config.layers]);
  const idle = bench(...sweep, '--layers', 'all');
  assert.equal(idle.code, 2);
  assert.match(idle.err, /--fewer/);
});

test('bench speed measures another memory profile, its peak memory in a process of its own included', async () => {
  using folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  const flags = ['--model', model, '--kept', '8', '--layers', 'all', '--storage', 'f16', '--threads', '1', '--offline'];
  const sizes = ['--rounds', '1', '--references', '1000', '--json'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'bench', 'speed', ...flags, ...sizes], {
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  assert.match(stderr, /llama\.cpp is left out: it reads GGUF files only/);
  const { load, peakMemoryMB, llamaCpp } = JSON.parse(stdout) as SpeedReport;
  assert.equal(llamaCpp, null);
  // Keys and values of 8 tokens, f16, of every layer and head; beside them their positions.
  const bytes = 2 * 2 * 8 * config.layers * config.kvHeads * config.headDim;
  assert.ok(load.bytesPerMemory >= bytes && load.bytesPerMemory < 2 * bytes, `${load.bytesPerMemory} bytes`);
  assert.ok(peakMemoryMB > 0);
});
