/** Whole conversions of a tiny model on data sets of a few lines. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { conversionData, lines } from '../../../test/support/conversion-data.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { type OpenedModel, openModel } from '../../generate/workspace.ts';
import { openAdapter } from '../../memory/adapter.ts';
import { courseOf, readRunLog } from '../log.ts';
import { trainBytePairs } from '../scratch/byte-pair-encoding.ts';
import { createModel } from '../scratch/new-model.ts';
import { type ConvertRequest, convert } from './convert.ts';

const shape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 512 };

let data: TemporaryFolder;
let folder: TemporaryFolder;
let opened: OpenedModel;
before(async () => {
  data = conversionData();
  folder = temporaryFolder();
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const { files } = await trainBytePairs([readme], { vocabularySize: 400 });
  const model = join(folder.path, 'model');
  createModel(model, shape, files, 1);
  opened = await openModel({ model, adapter: null, profile: { layers: 'all', keptTokens: 4 } });
});
after(async () => {
  await opened[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
  data[Symbol.dispose]();
});

function request(name: string, options: ConvertRequest['options'] = {}): ConvertRequest {
  return {
    opened,
    profile: opened.profile,
    data: data.path,
    run: join(folder.path, `${name}-run`),
    out: join(folder.path, name),
    name,
    options: { steps: 4, rank: 2, learn: [4, 'all'], contexts: 10, references: 6, contextTokens: 90, ...options },
    card: { training: 'a test', results: [] },
  };
}

describe('a conversion', () => {
  it('makes an adapter that opens with its model and says what it was made from', async () => {
    const { path, run } = await convert(request('whole'));
    assert.ok(run.finished);
    using adapter = await openAdapter(path as string, opened.file);
    assert.deepEqual(adapter.card.profile.layers, [0, 1]);
    assert.deepEqual(adapter.card.data.find(({ name }) => name === 'policyqa')?.licence, 'MIT');
    const change = adapter.changes.get('model.layers.0.self_attn.q_proj.weight')?.lowRank;
    assert.ok(
      change?.b.data.some((value) => value !== 0),
      'the companions have moved',
    );
  });

  it('that was interrupted goes on to the very same losses and weights', async () => {
    const controller = new AbortController();
    const interrupted = request('resumed');
    const first = await convert({
      ...interrupted,
      signal: controller.signal,
      onEvent: ({ kind }) => (kind === 'step' ? controller.abort() : undefined),
    });
    assert.equal(first.path, null);
    assert.equal(first.run.step, 1);
    using other = conversionData();
    other.write('gsm8k/train.jsonl.gz', lines([{ question: '3+3?', solution: '6\n#### 6' }]));
    await assert.rejects(convert({ ...interrupted, data: other.path }), { code: 'mismatch', message: /data was "/ });
    const second = await convert(interrupted);
    const losses = (name: string) =>
      courseOf(readRunLog(join(folder.path, `${name}-run`, 'log.jsonl'))).steps.map(({ loss }) => loss);
    assert.deepEqual(losses('resumed'), losses('whole'));
    using resumed = await openAdapter(second.path as string, opened.file);
    using whole = await openAdapter(join(folder.path, 'whole'), opened.file);
    assert.equal(resumed.fingerprint, whole.fingerprint);
  });

  it('goes on from an adapter, in its rank only', async () => {
    const from = join(folder.path, 'whole');
    const next = request('next', { steps: 2 });
    const { path, run } = await convert({ ...next, from });
    using adapter = await openAdapter(path as string, opened.file);
    using whole = await openAdapter(from, opened.file);
    assert.notEqual(adapter.fingerprint, whole.fingerprint);
    const firstLoss = (name: string) =>
      courseOf(readRunLog(join(folder.path, `${name}-run`, 'log.jsonl'))).steps[0]?.loss as number;
    assert.ok(firstLoss('next') < firstLoss('whole'), 'the same first group, after training');
    assert.equal((await convert({ ...next, from })).run.step, run.step);
    await assert.rejects(convert(next), { code: 'mismatch' });
    const ranked = request('ranked', { steps: 2, rank: 3 });
    await assert.rejects(convert({ ...ranked, from }), { code: 'mismatch', message: /\[3,32\].*\[2,32\]/ });
  });

  it('trains the models to compare with on the same questions, without references and with their text', async () => {
    for (const mode of ['none', 'rag'] as const) {
      const { path } = await convert(request(mode, { mode }));
      using adapter = await openAdapter(path as string, opened.file);
      assert.equal(adapter.summaryTokens, null);
    }
    const tokens = (name: string) =>
      courseOf(readRunLog(join(folder.path, `${name}-run`, 'log.jsonl'))).steps.at(-1)?.tokens as number;
    assert.ok(tokens('rag') > 1.5 * tokens('none'), 'references as text have to be read');
  });

  it('learns summary tokens, and kept tokens by reconstruction, as the card then says', async () => {
    const { path } = await convert(request('summary', { summaryTokens: 3, steps: 2 }));
    using adapter = await openAdapter(path as string, opened.file);
    assert.deepEqual(adapter.summaryTokens?.shape, [3, shape.hiddenSize]);
    assert.equal(adapter.card.profile.scoring, 'summary');
    await using reader = await openModel({ model: opened.file.path, adapter: join(folder.path, 'summary') });
    assert.equal(reader.profile.keptTokens, 3);
    const reconstruction = { ...opened.profile, scoring: 'reconstruction' as const };
    const { run } = await convert({ ...request('reconstruction', { steps: 2 }), profile: reconstruction });
    assert.ok(run.finished);
  });

  it('says how many contexts were cut, of the whole run', async () => {
    const notices: string[] = [];
    const cut = request('cut', { mode: 'none', steps: 2, contextTokens: 45 });
    await convert({ ...cut, onNotice: (notice) => notices.push(notice) });
    const { steps } = courseOf(readRunLog(join(cut.run, 'log.jsonl')));
    const count = steps.reduce((sum, step) => sum + (step.cut as number), 0);
    assert.ok(count > 0);
    assert.equal(notices.at(-1), `${count} of 20 contexts were read to their first 45 tokens only`);
    const log = join(cut.run, 'log.jsonl');
    writeFileSync(log, readFileSync(log, 'utf8').replace('{', '#'));
    const again = await convert({ ...cut, onNotice: (notice) => notices.push(notice) });
    assert.ok(again.path !== null);
    assert.match(notices.at(-2) ?? '', /^Line 1 of .* is not JSON\. What was logged there is left out\.$/);
  });

  it('refuses options that make no sense', async () => {
    await assert.rejects(convert(request('wrong', { steps: 0 })), { code: 'usage' });
    await assert.rejects(convert(request('few', { references: 2 })), { code: 'usage' });
    const nameless = request('nameless', { steps: 1 });
    await assert.rejects(convert({ ...nameless, name: 'x'.repeat(81) }), { code: 'usage', message: /^name: / });
    assert.ok(!existsSync(nameless.run), 'before anything is trained');
  });
});
