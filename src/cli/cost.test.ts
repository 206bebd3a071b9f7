/** The real command line counts the paper's model and a tiny one, and measures that. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel, tinyShape } from '../../test/support/tiny-trained.ts';
import { type KnowledgeCosts, knowledgeCosts, memoryShape } from '../evaluate/cost.ts';
import type { MeasuredCosts } from '../evaluate/cost-measured.ts';
import { saveModel } from '../train/scratch/save-model.ts';

const launcher = fileURLToPath(new URL('../../bin/memory3.js', import.meta.url));

interface Result {
  readonly flops: KnowledgeCosts;
  readonly memory: { readonly keptTokens: number };
  readonly seconds?: MeasuredCosts;
}

function cost(home: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [launcher, 'cost', ...args], {
    env: { ...process.env, MEMORY3_HOME: home, MEMORY3_OFFLINE: '1' },
    encoding: 'utf8',
  });
  return { code: status, out: stdout, err: stderr };
}

test('cost --paper prints the published numbers', () => {
  using folder = temporaryFolder();
  const { code, out, err } = cost(folder.path, '--paper');
  assert.equal(code, 0, err);
  assert.match(out, /parameters +2\.24 TFLOPs +0 +13 400 < n\n/);
  assert.match(out, /memory +308 GFLOPs +144 MFLOPs +0\.494 < n < 13 400\n/);
  assert.match(out, /text +0 +624 GFLOPs +n < 0\.494\n/);
  const { flops } = JSON.parse(cost(folder.path, '--paper', '--json').out) as Result;
  assert.equal(flops.explicit.read, 144_179_200);
  for (const other of [['--measured'], ['--kept', '8'], ['--layers', 'all'], ['--no-adapter']]) {
    const refused = cost(folder.path, '--paper', ...other);
    assert.equal(refused.code, 2);
    assert.match(refused.err, /'--paper' cannot be used with option/);
  }
});

test('cost of a model follows its configuration and profile; --measured runs it, --plot draws', async () => {
  using folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const { config, files, tensors, profile } = await tinyModel();
  saveModel(model, { config, tokenizer: files }, tensors);
  const plot = join(folder.path, 'cost.svg');
  const counted = cost(
    folder.path,
    '--model',
    model,
    '--kept',
    '8',
    '--training-length',
    '500',
    '--plot',
    plot,
    '--json',
  );
  assert.equal(counted.code, 0, counted.err);
  const result = JSON.parse(counted.out) as Result;
  const kept = memoryShape({ ...profile, layers: [1], keptTokens: 8 });
  assert.deepEqual(result.flops, knowledgeCosts({ ...tinyShape, vocabularySize: config.vocabularySize }, kept, 500));
  assert.equal(result.seconds, undefined);
  assert.match(readFileSync(plot, 'utf8'), /^<svg /);

  const measured = cost(folder.path, '--model', model, '--measured', '--rounds', '2', '--threads', '1', '--json');
  assert.equal(measured.code, 0, measured.err);
  const { seconds, memory } = JSON.parse(measured.out) as Result;
  assert.equal(memory.keptTokens, 128 - profile.header.length);
  assert.equal(seconds?.rounds, 2);
  assert.ok(seconds.explicit.write > 0);
  assert.ok(Number.isFinite(seconds.explicit.read) && Number.isFinite(seconds.external.read));
  assert.equal(seconds.external.write, 0);
  assert.equal(seconds.cheapest[0]?.format, 'external');

  const idle = cost(folder.path, '--model', model, '--rounds', '2');
  assert.equal(idle.code, 2);
  assert.match(idle.err, /--rounds: no model is run/);

  const nowhere = cost(folder.path, '--paper', '--plot', join(folder.path, 'no', 'cost.svg'));
  assert.equal(nowhere.code, 10);
  assert.match(nowhere.err, /cannot be written/);
  assert.ok(!existsSync(join(folder.path, 'no')));
});
