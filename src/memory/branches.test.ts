/** Texts with branches against each line of texts read by itself. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openFamily } from '../../test/support/families.ts';
import { Device } from '../runtime/device.ts';
import { layOut, plainLayout, seenBy, type TextTree } from './branches.ts';
import { ReadingContext } from './context.ts';
import { decodeMemory } from './format.ts';
import { LanguageModel } from './model.ts';
import { writeMemories } from './writer.ts';

const tokens = (count: number, first: number) => Array.from({ length: count }, (_, i) => (37 * i + first) % 128);

const trees: readonly TextTree[] = [
  {
    tokens: tokens(7, 1),
    branches: [{ tokens: tokens(3, 50) }, { tokens: tokens(5, 90), branches: [{ tokens: tokens(2, 4) }] }],
  },
  { tokens: tokens(4, 77), branches: [{ tokens: tokens(6, 13) }] },
];

it('texts stand once, each at the position that it has in its line', () => {
  const layout = layOut(trees);
  assert.equal(layout.tokens.length, 7 + 3 + 5 + 2 + 4 + 6);
  assert.deepEqual(
    layout.segments.map(({ offset, depth, length }) => [offset, depth, length]),
    [
      [0, 0, 7],
      [7, 7, 3],
      [10, 7, 5],
      [15, 12, 2],
      [17, 0, 4],
      [21, 4, 6],
    ],
  );
  const [, , , deepest] = layout.segments;
  assert.ok(deepest !== undefined);
  const whole = [
    [0, 7],
    [10, 15],
    [15, 16],
  ];
  assert.deepEqual(seenBy(deepest, 0, 0), whole);
  assert.deepEqual(seenBy(deepest, 0, 8), [[11, 15], whole[2]]);
  assert.deepEqual(plainLayout([4, 5], 3).segments, [{ offset: 0, depth: 0, length: 3, before: [] }]);
});

/** A line of texts, and where its last text is. */
function lines(some: readonly TextTree[], before: readonly number[] = []): (readonly number[])[] {
  return some.flatMap((tree) => [
    [...before, ...tree.tokens],
    ...lines(tree.branches ?? [], [...before, ...tree.tokens]),
  ]);
}

describe('hidden vectors of branches are those of each line read by itself', () => {
  // With a sliding window that is shorter than a line, too.
  for (const family of ['llama', 'mistral-window', 'qwen3']) {
    it(family, async () => {
      using file = await openFamily(family);
      await using device = new Device({ threads: 1 });
      const model = new LanguageModel(file, device, { precision: 'f32' });
      const header = [0, 5, 9] as [number, number, number];
      const profile = { layers: [1], keptTokens: 4, scoring: 'received', storage: 'f16', header } as const;
      const [memory] = (await writeMemories(model, profile, [{ tokens: tokens(17, 3) }])).map(decodeMemory);
      assert.ok(memory !== undefined);
      const layouts = [layOut(trees), layOut(trees.slice(1))];
      await using context = await ReadingContext.open(model, { batch: 2, memory: { profile, memories: 1 } });
      await context.begin(tokens(5, 60));
      await context.useMemories([memory], 1);
      const { length, data } = await context.readBranches(layouts);
      assert.equal(length, layouts[0]?.tokens.length);
      const width = model.config.hiddenSize;
      for (const [element, { segments }] of layouts.entries()) {
        for (const [index, line] of lines(trees.slice(element)).entries()) {
          const last = segments[index];
          assert.ok(last !== undefined);
          const reading = [[], []].map((none, own) => (own === element ? line : none));
          const alone = await context.extendHidden(reading);
          context.rewind(5, element);
          for (let i = 0; i < last.length; i++) {
            const row = element * length + last.offset + i;
            const expected = element * alone.length + line.length - last.length + i;
            for (let at = 0; at < width; at++) {
              const difference = (data[row * width + at] as number) - (alone.data[expected * width + at] as number);
              assert.ok(Math.abs(difference) < 1e-4, `sequence ${element}, text ${index}, token ${i}: ${difference}`);
            }
          }
        }
      }
      assert.deepEqual([context.length(0), context.length(1)], [5, 5], 'nothing is kept');
    });
  }
});
