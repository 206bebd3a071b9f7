/** Explanations against the plain transformer, which reads the same answer with the same memories in front. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { heldInMemory } from '../../test/support/families.ts';
import { type InFront, type PlainLayer, runPlainTransformer } from '../../test/support/plain-transformer.ts';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import { tinyModel } from '../../test/support/tiny-trained.ts';
import { type AnswerOptions, type AnswerTrace, answer } from '../generate/answer.ts';
import { addDocuments } from '../generate/library.ts';
import { openWorkspace, type Workspace } from '../generate/workspace.ts';
import { decodeMemory, type ExplicitMemory } from '../memory/format.ts';
import { referenceTokens } from '../memory/profile.ts';
import { saveModel } from '../train/scratch/save-model.ts';
import { type Explanation, explainAnswer } from './explain.ts';

const texts = [
  'The queen of the bees is called Isolde.',
  'Clocks are wound by the porter.',
  'Rivers end in the sea.',
  'Bees find flowers by their smell.',
];
const question = 'Who is the queen of the bees, and what is she called by those who know her?';

let folder: TemporaryFolder;
let workspace: Workspace;
let trace: AnswerTrace;
let explanation: Explanation;

before(async () => {
  folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const { config, files, tensors } = await tinyModel({ seed: 5 });
  saveModel(model, { config, tokenizer: files }, tensors);
  const profile = { layers: 'all', keptTokens: 6 } as const;
  const bank = join(folder.path, 'bank.memory3');
  workspace = await openWorkspace({ model, bank, bankMode: 'write', profile, threads: 1 });
  const documents = texts.map((text, i) => ({ name: `${i}`, title: null, mediaType: 'text/plain', text }));
  await Array.fromAsync(addDocuments(workspace, documents));
  // Longer than a chunk, so that memories change in the middle of the answer too.
  trace = await traceOf({ memories: 2, maxTokens: 70, temperature: 2, seed: 3 });
  explanation = await explainAnswer(workspace, trace);
});
after(async () => {
  await workspace[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function traceOf(options: AnswerOptions, content = question): Promise<AnswerTrace> {
  const events = await Array.fromAsync(answer(workspace, [{ role: 'user', content }], options));
  const end = events.at(-1);
  assert.ok(end?.kind === 'end');
  return end.trace;
}

/** Each token of an answer's trace with the references in its sight. */
function tokensInSight({ opening, pieces }: AnswerTrace) {
  const all = opening.map((token) => ({ token, inSight: [] as readonly number[], answer: false }));
  let inSight: readonly number[] = [];
  for (const { stage, tokens, recall } of pieces) {
    if (recall !== null) inSight = recall.found.map(({ reference }) => reference.id);
    for (const token of tokens) all.push({ token, inSight, answer: stage === 'answer' });
  }
  return all;
}

/** What the plain transformer says of the answer, with only the wanted memories in front. */
function plainReading(isSeen: (id: number) => boolean) {
  const { model, profile, bank, file } = workspace;
  const source = heldInMemory(file);
  const header = runPlainTransformer(source, profile.header).layers;
  const memories = new Map<number, ExplicitMemory>();
  const all = tokensInSight(trace).map((one) => ({ ...one, inSight: one.inSight.filter(isSeen) }));
  for (const id of new Set(all.flatMap(({ inSight }) => inSight))) {
    memories.set(id, decodeMemory(bank.memory(id) as Uint8Array));
  }
  const inFront = (layer: number, kvHead: number, query: number): InFront => {
    const { keys, values } = header[layer] as PlainLayer;
    const vectors = (part: number) =>
      (all[query]?.inSight ?? []).flatMap((id) => {
        const { kvHeads, kept, headDim, keysValues } = memories.get(id) as ExplicitMemory;
        return Array.from({ length: kept }, (_, token) => {
          const start = (((layer * 2 + part) * kvHeads + kvHead) * kept + token) * headDim;
          return [...keysValues.subarray(start, start + headDim)];
        });
      });
    return {
      keys: [...(keys[kvHead] as number[][]), ...vectors(0)],
      values: [...(values[kvHead] as number[][]), ...vectors(1)],
    };
  };
  const tokens = all.map(({ token }) => token);
  const { layers, logits } = runPlainTransformer(source, tokens, { start: referenceTokens, inFront });
  const first = all.findIndex(({ answer }) => answer);
  const predicting = all.slice(first - 1, -1).map((_, i) => first - 1 + i);
  let logLikelihood = 0;
  for (const at of predicting) {
    const row = logits[at] as number[];
    const largest = Math.max(...row);
    const total = row.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
    logLikelihood += (row[tokens[at + 1] as number] as number) - largest - Math.log(total);
  }
  /** Mean share of the slots in front that a range names for each token; of the context where it names none. */
  const share = (layer: number, slots: (at: number) => readonly [from: number, to: number | undefined] | null) => {
    let sum = 0;
    for (const at of predicting) {
      const range = slots(at);
      for (const head of layers[layer]?.attention ?? []) {
        if (range !== null) for (const value of (head[at] as number[]).slice(...range)) sum += value;
      }
    }
    return sum / (predicting.length * model.config.heads);
  };
  const kept = (ids: readonly number[]) => ids.reduce((sum, id) => sum + (memories.get(id)?.kept ?? 0), 0);
  const shares = (layer: number) => ({
    header: share(layer, () => [0, profile.header.length]),
    context: share(layer, (at) => [profile.header.length + kept(all[at]?.inSight ?? []), undefined]),
    memory: (id: number) =>
      share(layer, (at) => {
        const place = all[at]?.inSight.indexOf(id) ?? -1;
        const from = profile.header.length + kept(all[at]?.inSight.slice(0, place) ?? []);
        return place < 0 ? null : [from, from + kept([id])];
      }),
  });
  return { logLikelihood, shares };
}

function near(actual: number | undefined, expected: number, within: number, what: string): void {
  assert.ok(Math.abs((actual as number) - expected) < within, `${what}: ${actual}, not ${expected}`);
}

describe('an explanation', () => {
  it('is of an answer whose memories change', () => {
    const { memories, recalls, answerTokens } = explanation;
    assert.equal(answerTokens, 70);
    assert.ok(recalls.length >= 3, 'two chunks of the prompt, one of the answer');
    assert.deepEqual([recalls[0]?.stage, recalls.at(-1)?.stage, recalls.at(-1)?.before], ['prompt', 'answer', 64]);
    assert.deepEqual(
      recalls.map(({ query, found }) => ({ query, found: found.map(({ referenceId }) => referenceId) })),
      trace.pieces.flatMap(({ recall }) =>
        recall === null ? [] : [{ query: recall.query, found: recall.found.map(({ reference }) => reference.id) }],
      ),
    );
    assert.ok(memories.length > 2, 'not always the same two');
    assert.equal(
      memories.reduce((sum, memory) => sum + memory.recalls, 0),
      recalls.length * 2,
    );
    assert.equal(
      memories.reduce((sum, { inSight }) => sum + inSight, 0),
      70 * 2,
    );
    for (const { text, document } of memories) assert.equal(text, texts[Number(document)]);
  });

  it('has shares that sum to 1 at each layer and are those of the plain transformer', () => {
    const { layers, headerShares, contextShares, memories } = explanation;
    const plain = plainReading(() => true);
    assert.deepEqual(layers, [0, 1]);
    for (const layer of layers) {
      const expected = plain.shares(layer);
      near(headerShares[layer], expected.header, 1e-5, `header, layer ${layer}`);
      near(contextShares[layer], expected.context, 1e-5, `context, layer ${layer}`);
      let sum = (headerShares[layer] as number) + (contextShares[layer] as number);
      for (const { referenceId, shares, inSight } of memories) {
        near(shares[layer], expected.memory(referenceId), 1e-5, `memory ${referenceId}, layer ${layer}`);
        assert.equal((shares[layer] as number) > 0, inSight > 0);
        sum += shares[layer] as number;
      }
      near(sum, 1, 1e-5, `all of layer ${layer}`);
    }
  });

  it('has the likelihoods of the plain transformer with all, each but one and none of the memories', () => {
    const { logLikelihood, memories } = explanation;
    near(logLikelihood.withAll, plainReading(() => true).logLikelihood, 1e-3, 'all');
    near(logLikelihood.withoutAny, plainReading(() => false).logLikelihood, 1e-3, 'none');
    for (const { referenceId, logLikelihoodWithout, worth } of memories) {
      const expected = plainReading((id) => id !== referenceId).logLikelihood;
      near(logLikelihoodWithout, expected, 1e-3, `without ${referenceId}`);
      assert.equal(worth, logLikelihood.withAll - logLikelihoodWithout);
    }
    assert.ok(new Set(memories.map(({ logLikelihoodWithout }) => logLikelihoodWithout.toFixed(3))).size > 1);
    const worths = memories.map(({ worth }) => worth);
    assert.deepEqual(
      worths,
      worths.toSorted((a, b) => b - a),
    );
  });

  it('says how far it is, and ends when its signal is aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const seen: number[][] = [];
    const onProgress = (...counts: number[]) => {
      seen.push(counts);
      if (counts[0] === 2) controller.abort(reason);
    };
    await assert.rejects(explainAnswer(workspace, trace, { signal: controller.signal, onProgress }), reason);
    const total = explanation.memories.length + 2;
    assert.deepEqual(seen, [
      [1, total],
      [2, total],
    ]);
  });

  it('is refused where there is nothing to explain', async () => {
    const refused = (message: RegExp) => ({ code: 'usage', message });
    for (const mode of ['none', 'rag'] as const) {
      const other = await traceOf({ mode, maxTokens: 2 });
      await assert.rejects(explainAnswer(workspace, other), refused(/Nothing was recalled/));
    }
    const empty = { ...trace, pieces: trace.pieces.filter(({ stage }) => stage === 'prompt') };
    await assert.rejects(explainAnswer(workspace, empty), refused(/answer is empty/));
  });
});
