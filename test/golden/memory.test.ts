/** Explicit memory against an independent PyTorch program (test/golden/README.md, memory.json), in f32. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { ReadingContext } from '../../src/memory/context.ts';
import type { ExplicitMemory } from '../../src/memory/format.ts';
import type { MemoryProfile } from '../../src/memory/profile.ts';
import { encodeReferences, gather, selectAll } from '../../src/memory/writer.ts';
import { readGolden } from '../support/golden.ts';
import { tokenLikelihoods } from '../support/likelihoods.ts';
import { type DefaultModel, openDefaultModel } from '../support/model.ts';

interface Kept {
  readonly kept: readonly number[];
  readonly margin: number;
}
interface MemoryCase {
  readonly profile: string;
  readonly layers: [number, ...number[]];
  readonly kept_tokens: number | 'all';
  readonly memories: 1 | 5;
  readonly token_nll: readonly number[];
  readonly last_top_ids: readonly number[];
  readonly last_top_logits: readonly number[];
  /** For each reference: by layer, one entry for each kv head. */
  readonly kept?: readonly Readonly<Record<string, readonly Kept[]>>[];
}
interface Golden {
  readonly header: [number, ...number[]];
  readonly context: readonly number[];
  readonly references: readonly (readonly number[])[];
  readonly no_memory_token_nll: readonly number[];
  readonly cases: readonly MemoryCase[];
}

const golden = readGolden<Golden>('memory.json');
const references = golden.references.map((tokens) => ({ tokens }));

let opened: DefaultModel;
before(async () => {
  opened = await openDefaultModel();
});
after(() => opened[Symbol.asyncDispose]());

describe('explicit memory', () => {
  it('is not in sight of a context without memory', async () => {
    await using context = await ReadingContext.open(opened.model('f32'), { memory: null });
    const logits = await context.extend([golden.context], 'all');
    closeTo(tokenLikelihoods(logits, golden.context), golden.no_memory_token_nll, 1e-3);
  });

  const byProfile = Map.groupBy(golden.cases, ({ profile }) => profile);
  for (const [name, cases] of byProfile) {
    it(`${name}: chosen tokens, likelihoods and logits`, async () => {
      const model = opened.model('f32');
      const { layers, kept_tokens: keptTokens } = cases[0] as MemoryCase;
      const profile: MemoryProfile = { layers, keptTokens, scoring: 'received', storage: 'f16', header: golden.header };
      const encoded = await encodeReferences(model, profile, references, []);
      const expectedKept = cases.find(({ kept }) => kept !== undefined)?.kept;
      const memories: ExplicitMemory[] = encoded.map((reference, index) => {
        const own = selectAll(model, profile, reference, references[index] as { tokens: readonly number[] });
        const expected = expectedKept === undefined ? undefined : (expectedKept[index] as Record<string, Kept[]>);
        const planes = expected === undefined ? undefined : layers.flatMap((layer) => expected[String(layer)] as Kept[]);
        for (const [plane, { kept, margin }] of (planes ?? []).entries()) {
          if (margin >= 1e-4) assert.deepEqual(own[plane], kept, `reference ${index}, layer and head ${plane}`);
        }
        return gather(model, profile, reference, planes?.map(({ kept }) => kept) ?? own);
      });
      for (const expected of cases) {
        await using context = await ReadingContext.open(model, { memory: { profile, memories: 5 } });
        await context.useMemories(memories.slice(0, expected.memories));
        const logits = await context.extend([golden.context], 'all');
        closeTo(tokenLikelihoods(logits, golden.context), expected.token_nll, 1e-3);
        const last = logits.data.subarray(-model.config.vocabularySize);
        closeTo(
          expected.last_top_ids.map((id) => last[id] as number),
          expected.last_top_logits,
          2e-3,
        );
      }
      await model.releaseSessions();
    });
  }
});

function closeTo(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (const [index, value] of actual.entries()) {
    const difference = Math.abs(value - (expected[index] as number));
    assert.ok(difference < tolerance, `value ${index} is ${value}, off by ${difference}`);
  }
}
