/**
 * Adapters merged into models: the graph with merged weights against the plain transformer, which adds B A x to each product
 * itself, and the default model's merged matrices in blocks against the same sums in f32.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tokenLikelihoods } from '../support/likelihoods.ts';
import { mergeAdapter } from '../../src/memory/adapted-model.ts';
import { type Adapter, openAdapter, writeAdapter } from '../../src/memory/adapter.ts';
import { ReadingContext } from '../../src/memory/context.ts';
import { LanguageModel, type ModelSource } from '../../src/memory/model.ts';
import { type MatrixWidth, mergedWeights } from '../../src/model/merged-weights.ts';
import type { ModelFile } from '../../src/model/open.ts';
import { toDense } from '../../src/model/quantised.ts';
import { Device } from '../../src/runtime/device.ts';
import { cardFor, randomTensors } from '../support/adapter.ts';
import { familyCases, heldInMemory, openFamily } from '../support/families.ts';
import { readGoldenLines } from '../support/golden.ts';
import { openDefaultModel } from '../support/model.ts';
import { runPlainTransformer } from '../support/plain-transformer.ts';
import { temporaryFolder } from '../support/temporary.ts';

describe('a merged adapter', () => {
  // Together: grouped heads, bias, norms of q and k, an untied head, a window.
  for (const family of ['llama', 'mistral-window', 'qwen2', 'qwen3']) {
    it(`gives ${family} the logits of the plain transformer with the same sums`, async () => {
      using folder = temporaryFolder();
      const base = await openFamily(family);
      const path = writeAdapter(folder.path, await cardFor(base), randomTensors(base, base.weights.names, 3, 0.1), base.config);
      const adapter = await openAdapter(path, base);
      using merged = mergeAdapter(base, adapter, { cacheFolder: folder.path });
      await using device = new Device();
      const model = new LanguageModel(merged, device, { precision: 'f32' });
      const ids = familyCases(family)[0]?.ids as readonly number[];
      await using context = await ReadingContext.open(model, { memory: null });
      const { data } = await context.extend([ids], 'all');
      const expected = runPlainTransformer(obviousSums(base, adapter), ids).logits.flat();
      const unchanged = runPlainTransformer(heldInMemory(base), ids).logits.flat();
      const difference = (other: readonly number[]) => Math.max(...other.map((x, i) => Math.abs(x - (data[i] as number))));
      assert.ok(difference(expected) < 5e-4, `${difference(expected)}`);
      assert.ok(difference(unchanged) > 0.05, 'the adapter changes what the model says');
    });
  }

  it("keeps the default model's perplexity in 4 and in 8 bits, and in 8 what it changes", async () => {
    using folder = temporaryFolder();
    await using opened = await openDefaultModel();
    const base = opened.file;
    const matrices = base.weights.names.filter((name) => name.endsWith('_proj.weight'));
    // A few per cent of the weights' norm: less than half a step of 4 bits, which therefore lose most of it.
    const tensors = randomTensors(base, matrices, 2, 0.1);
    const path = writeAdapter(folder.path, await cardFor(base, { scale: 1.3 }), tensors, base.config);
    using adapter = await openAdapter(path, base);
    const [text] = readGoldenLines<{ text: string }>('wikitext2-valid.jsonl.gz');
    const tokens = opened.tokenizer.encode((text as { text: string }).text).slice(0, 256);
    const measure = async (model: LanguageModel) => {
      await using context = await ReadingContext.open(model, { memory: null });
      const logits = await context.extend([tokens], 'all');
      const likelihoods = tokenLikelihoods(logits, tokens);
      return { nll: likelihoods.reduce((a, b) => a + b) / likelihoods.length, likelihoods };
    };
    const merged = async (width: MatrixWidth) => {
      const weights = mergedWeights(base.weights, adapter.changes, width);
      const model = new LanguageModel({ config: base.config, weights }, opened.device);
      const measured = await measure(model);
      await model.releaseSessions();
      return measured;
    };
    const plain = await measure(opened.model('f32'));
    await opened.model('f32').releaseSessions();
    const exact = await merged('f32');
    const change = (measured: typeof exact) => measured.likelihoods.map((nll, i) => nll - (plain.likelihoods[i] as number));
    for (const width of ['file', 8] as const) {
      const measured = await merged(width);
      const ratio = Math.exp(measured.nll - exact.nll);
      const kept = correlation(change(measured), change(exact));
      assert.ok(Math.abs(ratio - 1) < 0.03, `${width}: perplexity is ${ratio} of the f32 one`);
      if (width === 8) assert.ok(kept > 0.8, `what the adapter changes is kept: ${kept}`);
    }
  });
});

function correlation(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * (y[i] as number), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** W + scale * B A + D by plain loops. */
function obviousSums(base: ModelFile, adapter: Adapter): ModelSource {
  return heldInMemory({
    config: base.config,
    weights: {
      names: base.weights.names,
      has: (name) => base.weights.has(name),
      get(name) {
        const { shape, data } = toDense(base.weights.get(name));
        const { lowRank, difference } = adapter.changes.get(name) ?? {};
        const sums = data.map((value, i) => value + (difference?.data[i] ?? 0));
        if (lowRank !== undefined) {
          const [rank, columns] = lowRank.a.shape as [number, number];
          for (let i = 0; i < sums.length; i++) {
            for (let k = 0; k < rank; k++) {
              const left = lowRank.b.data[Math.floor(i / columns) * rank + k] as number;
              const right = lowRank.a.data[k * columns + (i % columns)] as number;
              sums[i] = (sums[i] as number) + lowRank.scale * left * right;
            }
          }
        }
        return { kind: 'dense', shape, data: sums };
      },
    },
  });
}
