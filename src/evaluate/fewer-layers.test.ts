import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { smallQuestions, smallTokenizer } from '../../test/support/small-questions.ts';
import { LanguageModel } from '../memory/model.ts';
import { Device } from '../runtime/device.ts';
import { fewerLayers, sizesOf } from './fewer-layers.ts';
import { measureQuality, type QualityRow } from './quality.ts';

describe('fewer memory layers', () => {
  it('keep as many tokens as the same bytes allow, and no more than a reference has', () => {
    const pairs = (layers: number, tokens: number, most: number) =>
      sizesOf(layers, tokens, most).map(({ layers: count, kept }) => [count, kept]);
    assert.deepEqual(pairs(8, 4, 20), [
      [8, 4],
      [4, 8],
      [3, 10],
      [2, 16],
    ]);
    assert.deepEqual(pairs(3, 1, 100), [
      [3, 1],
      [1, 3],
    ]);
    assert.deepEqual(pairs(20, 100, 125), [[20, 100]]);
  });

  it('are those whose absence costs most, each measured as it is alone', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device, { precision: 'f32' });
    const tokenizer = smallTokenizer;
    const sets = smallQuestions;
    const header: [number, ...number[]] = [1, 5];
    const own = { scoring: 'received', storage: 'f16', header, repeatPrompt: [], seed: 0 } as const;
    const seen: QualityRow[] = [];
    const report = await fewerLayers(model, tokenizer, sets, {
      ...{ ...own, layers: [0, 1], tokens: 2 },
      onRow: (row) => seen.push(row),
    });
    const alone = async (layers: string, kept: number) => {
      const compared = [{ layers, kept: [kept] }];
      const models = { none: model, rag: model, memory: model };
      const rows: QualityRow[] = [];
      for await (const row of measureQuality(models, tokenizer, sets, { ...own, compared, references: [1] }))
        rows.push(row);
      return rows.at(-1) as QualityRow;
    };
    assert.equal(report.kept, 8);
    const [first, second] = report.needed;
    const both = await alone('0,1', 8);
    for (const { layer, cost } of report.needed) {
      const { nll } = await alone(`${1 - layer}`, 8);
      assert.ok(Math.abs(cost.value - (nll - both.nll)) < 1e-9);
    }
    assert.ok(first !== undefined && second !== undefined && first.cost.value >= second.cost.value);
    assert.deepEqual(
      report.sizes.map(({ layers, kept }) => [layers, kept]),
      [
        [[0, 1], 2],
        [[first.layer], 4],
      ],
    );
    for (const { layers, kept, nll, row } of report.sizes) {
      assert.deepEqual(row, await alone(`${layers}`, kept));
      assert.equal(nll, row.nll);
    }
    const [all, one] = report.sizes;
    assert.ok(all !== undefined && one !== undefined);
    assert.equal(all.behind.value, 0);
    assert.ok(Math.abs(one.behind.value - (one.nll - all.nll)) < 1e-9);
    assert.equal(report.best, one.nll < all.nll ? one : all);
    // For three sets without and with text, once; three and two choices.
    assert.equal(seen.length, 3 * (2 + 3 + 2));

    const single = fewerLayers(model, tokenizer, sets, { ...own, layers: [1], tokens: 2 });
    await assert.rejects(single, { code: 'usage', message: /single memory layer/ });
    const interrupted = fewerLayers(model, tokenizer, sets, {
      ...{ ...own, layers: [0, 1], tokens: 2, signal: AbortSignal.abort(new Error('enough')) },
    });
    await assert.rejects(interrupted, /enough/);
  });
});
