/** Writing against the plain transformer: key-values, every way to score tokens, and what is kept, on tiny models. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { heldInMemory, openFamily } from '../../test/support/families.ts';
import { plainAnswerProbabilities } from '../../test/support/plain-classifier.ts';
import { dot, type PlainLayer, runPlainTransformer, softmax } from '../../test/support/plain-transformer.ts';
import { Memory3Error } from '../errors.ts';
import type { ModelFile } from '../model/open.ts';
import { gatherRows } from '../model/quantised.ts';
import { Device } from '../runtime/device.ts';
import { type AnswerClassifier, classifierShape } from './answer-classifier.ts';
import { decodeMemory } from './format.ts';
import { LanguageModel, type ModelSource } from './model.ts';
import { type MemoryProfile, type Scoring, scorings } from './profile.ts';
import type { ReferenceBody } from './reference-batch.ts';
import { encodeReferences, writeMemories } from './writer.ts';

const header: [number, ...number[]] = [0, 5, 9];
const repeatPrompt = [7, 8, 11];
/** A classifier of answers that sees two layers, and whose weights differ. */
const classifierOf = (config: ModelSource['config']): AnswerClassifier => {
  const layers = [0, 1];
  const shape = classifierShape(config, layers, 2);
  const data = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => 0.5 * Math.sin(3 * i + 1));
  return { layers, weights: { kind: 'dense', shape, data } };
};
/** Lengths differ, so that all but the longest are padded; within one, tokens do, since equal tokens tie in layer 0. */
const references: readonly ReferenceBody[] = [17, 3, 40, 9, 1].map((length, index) => ({
  tokens: Array.from({ length }, (_, i) => (37 * i + 23 * index) % 128),
}));

/** Scorings that have scores. */
type PlainScoring = Exclude<Scoring, 'random' | 'summary'>;

/** Scores `[layers][kvHeads][body]` by their definition (graph/writer.ts), one loop after the other. */
function plainScores(model: ModelSource, body: readonly number[], { layers, scoring }: MemoryProfile): number[][][] {
  const { heads, kvHeads, headDim } = model.config;
  const group = heads / kvHeads;
  const alone = runPlainTransformer(model, [...header, ...body]).layers;
  const twice = runPlainTransformer(model, [...header, ...body, ...repeatPrompt, ...body]).layers;
  const secondCopy = header.length + body.length + repeatPrompt.length;
  return layers.map((number) => {
    const layer = alone[number] as PlainLayer;
    return Array.from({ length: kvHeads }, (_, kvHead) => {
      const keys = (layer.plainKeys[kvHead] as number[][]).slice(header.length);
      const received = body.map(() => 0);
      const exponentials = body.map(() => 0);
      const repeated = body.map(() => 0);
      for (let head = kvHead * group; head < (kvHead + 1) * group; head++) {
        for (const query of (layer.plainQueries[head] as number[][]).slice(header.length)) {
          const scores = keys.map((key) => dot(query, key) / Math.sqrt(headDim));
          for (const [j, share] of softmax(scores).entries()) received[j] = (received[j] as number) + share;
          for (const [j, score] of scores.entries()) exponentials[j] = (exponentials[j] as number) + Math.exp(score);
        }
        for (const shares of ((twice[number] as PlainLayer).attention[head] as number[][]).slice(secondCopy)) {
          for (const j of body.keys())
            repeated[j] = Math.max(repeated[j] as number, shares[header.length + j] as number);
        }
      }
      const values = alone.slice(0, 2).map((each) => each.values);
      const asked = plainAnswerProbabilities(
        classifierOf(model.config).weights.data,
        body.map((_, j) => values.flat().flatMap((ofHead) => ofHead[header.length + j] as number[])),
      );
      const norms = (layer.values[kvHead] as number[][]).slice(header.length).map((value) => Math.hypot(...value));
      const byScoring: Record<PlainScoring, number[]> = {
        received,
        'answer-weighted': received.map((share, j) => share * (asked[j] as number)),
        'received-unnormalised': exponentials.map(Math.log),
        'value-norm': received.map((share, j) => share * (norms[j] as number)),
        reconstruction: repeated,
      };
      return byScoring[scoring as PlainScoring];
    });
  });
}

/** What the scores of each plane become where tokens that heads before keep count less (selection.ts). */
function plainSpread(layers: readonly (readonly (readonly number[])[])[]): number[][] {
  const keptBy: { readonly layer: number; readonly tokens: readonly number[] }[] = [];
  return layers.flatMap((heads, layer) =>
    heads.map((scores) => {
      const own = scores.map((score, token) => {
        const before = keptBy.filter(({ tokens }) => tokens.includes(token));
        return score * Math.exp(-0.3 * before.reduce((sum, one) => sum + 0.8 ** (layer - one.layer), 0));
      });
      keptBy.push({ layer, tokens: bestFour(own) });
      return own;
    }),
  );
}

// Beside plain grouped heads: q/k norm, biases, a window of 8 tokens.
for (const family of ['llama', 'qwen3', 'qwen2', 'mistral-window']) {
  describe(`writing with ${family}`, () => {
    let file: ModelFile;
    let source: ModelSource;
    let device: Device;
    let model: LanguageModel;
    before(async () => {
      file = await openFamily(family);
      source = heldInMemory(file);
      device = new Device({ threads: 1 });
      // Weights are handed over to the device, so the model reads its own.
      const answerClassifier = classifierOf(file.config);
      model = new LanguageModel(file, device, { precision: 'f32', answerClassifier });
    });
    after(async () => {
      await device[Symbol.asyncDispose]();
      file[Symbol.dispose]();
    });

    const profileOf = (changes: Partial<MemoryProfile>): MemoryProfile => ({
      ...{ layers: [0, 1], keptTokens: 4, scoring: 'received', storage: 'f16', header },
      ...changes,
    });

    for (const layers of [[0, 1], [1]] as [number, ...number[]][]) {
      it(`computes keys after RoPE and values of layers ${layers}`, async () => {
        const profile = profileOf({ layers, keptTokens: 'all' });
        const encoded = await encodeReferences(model, profile, references, []);
        for (const [index, { tokens }] of references.entries()) {
          const plain = runPlainTransformer(source, [...header, ...tokens]).layers;
          const expected = layers.flatMap((layer) => {
            const { keys, values } = plain[layer] as PlainLayer;
            return [keys, values].flat().flatMap((ofHead) => ofHead.slice(header.length).flat());
          });
          assertClose(encoded[index]?.keysValues, expected, `reference ${index}`);
          assert.equal(encoded[index]?.scores, undefined);
        }
      });
    }

    const cases = scorings
      .filter((each) => each !== 'random' && each !== 'summary')
      .map((scoring): Pick<MemoryProfile, 'scoring' | 'layers'> => ({ scoring, layers: [0, 1] }));
    // A classifier sees its own layers, whichever are memory layers.
    for (const { scoring, layers } of [...cases, { scoring: 'answer-weighted', layers: [0] } as const]) {
      // Seen from the second copy, the first one is outside of a window of 8.
      if (scoring === 'reconstruction' && family === 'mistral-window') continue;
      it(`scores and keeps by ${scoring} in layers ${layers}`, async () => {
        const profile = profileOf({ scoring, layers });
        const expected = references.map(({ tokens }) => plainScores(source, tokens, profile));
        if (scoring !== 'value-norm') {
          for (const [index, { scores }] of (
            await encodeReferences(model, profile, references, repeatPrompt)
          ).entries()) {
            assertClose(scores, (expected[index] as number[][][]).flat(2), `reference ${index}`);
          }
        }
        const memories = (await writeMemories(model, profile, references, repeatPrompt)).map(decodeMemory);
        for (const [index, { positions, kept }] of memories.entries()) {
          const layers = expected[index] as number[][][];
          const planes = scoring === 'answer-weighted' ? plainSpread(layers) : layers.flat();
          assert.equal(kept, Math.min(4, (references[index] as ReferenceBody).tokens.length));
          for (const [plane, scores] of planes.entries()) {
            const own = [...positions.subarray(plane * kept, (plane + 1) * kept)].map((at) => at - header.length);
            assert.deepEqual(own, bestFour(scores), `reference ${index}, plane ${plane}`);
          }
        }
      });
    }

    it('keeps the key-values of summary tokens, read behind each body', async () => {
      // Embeddings of known tokens, so that the plain transformer can read them.
      const ids = [100, 30, 77];
      const { hiddenSize } = file.config;
      const data = new Float32Array(ids.length * hiddenSize);
      gatherRows(file.weights.get('model.embed_tokens.weight'), ids, data);
      const summaryTokens = { kind: 'dense', shape: [ids.length, hiddenSize], data } as const;
      const own = new LanguageModel(file, device, { precision: 'f32', summaryTokens });
      const profile = profileOf({ scoring: 'summary', keptTokens: ids.length });
      const memories = (await writeMemories(own, profile, references)).map(decodeMemory);
      for (const [index, { tokens }] of references.entries()) {
        const { kvHeads, kept, headDim, positions, keysValues } = memories[index] as (typeof memories)[number];
        const first = header.length + tokens.length;
        assert.deepEqual([...positions], new Array(2 * kvHeads).fill([first, first + 1, first + 2]).flat());
        const plain = runPlainTransformer(source, [...header, ...tokens, ...ids]).layers;
        const expected = profile.layers.flatMap((layer) => {
          const { keys, values } = plain[layer] as PlainLayer;
          return [keys, values].flat().flatMap((ofHead) => ofHead.slice(first).flat());
        });
        assert.equal(expected.length, 2 * 2 * kvHeads * kept * headDim);
        const largest = Math.max(...expected.map(Math.abs));
        assertClose(keysValues, expected, `reference ${index}`, largest * 2 ** -11 + 1e-4);
      }
      await own.releaseSessions();
    });

    it('stores the key-values of the tokens that it kept', async () => {
      for (const storage of ['f16', 'int8'] as const) {
        const memories = (await writeMemories(model, profileOf({ storage }), references)).map(decodeMemory);
        for (const [index, memory] of memories.entries()) {
          const plain = runPlainTransformer(source, [...header, ...(references[index] as ReferenceBody).tokens]).layers;
          const { kvHeads, kept, headDim, positions } = memory;
          assert.deepEqual([memory.layers, kvHeads, headDim], [2, model.config.kvHeads, model.config.headDim]);
          for (let vector = 0; vector < 2 * 2 * kvHeads * kept; vector++) {
            const [layer, part, head, token] = unravel(vector, [2, 2, kvHeads, kept]);
            const position = positions[(layer * kvHeads + head) * kept + token] as number;
            const { keys, values } = plain[layer] as PlainLayer;
            const expected = (part === 0 ? keys : values)[head]?.[position] as number[];
            const largest = Math.max(...expected.map(Math.abs));
            // f16 keeps 11 bits; int8 rounds to 127 steps and its scale to f16.
            const tolerance = largest * (storage === 'f16' ? 2 ** -11 : 0.5 / 127 + 2 ** -11) + 1e-4;
            const actual = memory.keysValues.subarray(vector * headDim, (vector + 1) * headDim);
            assertClose(actual, expected, `reference ${index}, vector ${vector}`, tolerance);
          }
        }
      }
    });
  });
}

describe('writing', () => {
  it('draws random tokens that the reference, the layer and the head decide', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device);
    const profile: MemoryProfile = { layers: [0, 1], keptTokens: 4, scoring: 'random', storage: 'f16', header };
    const [long, , longest] = references as readonly [ReferenceBody, ReferenceBody, ReferenceBody];
    const write = async (...bodies: ReferenceBody[]) =>
      (await writeMemories(model, profile, bodies)).map((bytes) => [...decodeMemory(bytes).positions]);
    const [first, second] = (await write(long, longest)) as [number[], number[]];
    assert.deepEqual(await write(longest), [second]);
    const planes = [0, 1, 2, 3].map((plane) => `${first.slice(plane * 4, plane * 4 + 4)}`);
    assert.equal(new Set(planes).size, 4);
    for (const positions of [first, second]) {
      for (const [i, position] of positions.entries()) {
        assert.ok(position >= header.length && (i % 4 === 0 || position > (positions[i - 1] as number)));
      }
    }
    const changed = { tokens: long.tokens.with(5, 99) };
    assert.notDeepEqual((await write(changed))[0], first);
  });

  it('refuses to keep tokens by a classifier that the model does not have', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const profile: MemoryProfile = { layers: [1], keptTokens: 4, scoring: 'answer-weighted', storage: 'f16', header };
    const without = new LanguageModel(file, device);
    await assert.rejects(writeMemories(without, profile, references), { code: 'usage', message: /no classifier/ });
    // Where every token is kept none is chosen.
    assert.equal(
      (await writeMemories(without, { ...profile, keptTokens: 'all' }, references)).length,
      references.length,
    );
  });

  it('refuses summary tokens that the model does not have, and bodies that leave them no room', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const { hiddenSize } = file.config;
    const summaryTokens = { kind: 'dense', shape: [4, hiddenSize], data: new Float32Array(4 * hiddenSize) } as const;
    const model = new LanguageModel(file, device, { summaryTokens });
    const profile: MemoryProfile = { layers: [1], keptTokens: 4, scoring: 'summary', storage: 'f16', header };
    const refuse = (code: string, message: RegExp, writing: Promise<unknown>) =>
      assert.rejects(writing, (error: unknown) => {
        assert.ok(error instanceof Memory3Error);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    const body = (length: number) => [{ tokens: new Array<number>(length).fill(1) }];
    await refuse('too-long', /122 tokens, its header of 3 and 4 summary/, writeMemories(model, profile, body(122)));
    const [full] = await writeMemories(model, profile, body(121));
    assert.deepEqual([...decodeMemory(full as Uint8Array).positions], [124, 125, 126, 127, 124, 125, 126, 127]);
    await refuse('usage', /keeps 5 .* has 4/, writeMemories(model, { ...profile, keptTokens: 5 }, body(1)));
    await refuse('usage', /how many/, writeMemories(model, { ...profile, keptTokens: 'all' }, body(1)));
    await refuse('usage', /this model has none/, writeMemories(new LanguageModel(file, device), profile, body(1)));
  });

  it('refuses what it cannot write, by name', async () => {
    using file = await openFamily('llama');
    await using device = new Device({ threads: 1 });
    const model = new LanguageModel(file, device);
    const profile: MemoryProfile = { layers: [1], keptTokens: 'all', scoring: 'received', storage: 'f16', header };
    const refuse = (tokens: number[], code: string, message: RegExp) =>
      assert.rejects(writeMemories(model, profile, [{ tokens }]), (error: unknown) => {
        assert.ok(error instanceof Memory3Error);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      });
    assert.deepEqual(await writeMemories(model, profile, []), []);
    await refuse([], 'usage', /without tokens/);
    await refuse(new Array<number>(126).fill(1), 'too-long', /126 tokens and its header of 3 exceed 128/);
    const [full] = await writeMemories(model, profile, [{ tokens: new Array<number>(125).fill(1) }]);
    assert.deepEqual([...decodeMemory(full as Uint8Array).positions.subarray(123, 125)], [126, 127]);
  });
});

/** The four highest, in ascending order. Fails where the fourth and the fifth are too close to tell apart in f32. */
function bestFour(scores: readonly number[]): number[] {
  const order = [...scores.keys()].sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const [fourth = 1, fifth = 0] = order.slice(3, 5).map((j) => scores[j] as number);
  assert.ok(fourth - fifth > 1e-4, `an unlucky test: ${fourth} and ${fifth} are equal in f32`);
  return order.slice(0, 4).sort((a, b) => a - b);
}

function unravel(index: number, shape: readonly number[]): [number, number, number, number] {
  let rest = index;
  const result = shape.toReversed().map((size) => {
    const digit = rest % size;
    rest = Math.floor(rest / size);
    return digit;
  });
  return result.reverse() as [number, number, number, number];
}

function assertClose(actual: Float32Array | undefined, expected: readonly number[], what: string, tolerance = 1e-4) {
  assert.equal(actual?.length, expected.length, what);
  for (const [i, value] of expected.entries()) {
    const difference = Math.abs((actual?.[i] as number) - value);
    assert.ok(difference <= tolerance, `${what}: value ${i} is ${actual?.[i]}, not ${value}`);
  }
}
