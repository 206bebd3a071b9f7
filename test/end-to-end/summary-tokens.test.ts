/** A tiny model whose adapter has summary tokens, opened as every command opens it, with a bank of its own. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addSources, rewriteLibrary } from '../../src/generate/library.ts';
import { openModel, openWorkspace, type WorkspaceOptions } from '../../src/generate/workspace.ts';
import { defaultEmbedder } from '../../src/hub/catalogue.ts';
import { modelPath } from '../../src/hub/fetch.ts';
import { summaryTokensName, writeAdapter } from '../../src/memory/adapter.ts';
import { ReadingContext } from '../../src/memory/context.ts';
import { openModelFile } from '../../src/model/open.ts';
import { trainBytePairs } from '../../src/train/scratch/byte-pair-encoding.ts';
import { createModel } from '../../src/train/scratch/new-model.ts';
import { cardFor, randomValues } from '../support/adapter.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';

const text = fileURLToPath(new URL('../../assets/library/allan-dwan.txt', import.meta.url));
const shape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 512 };
const summary = 20;

let folder: TemporaryFolder;
let formerHome: string | undefined;
let options: Readonly<Record<'model' | 'adapter' | 'embedder' | 'bank', string>>;
before(async () => {
  const embedder = await modelPath(defaultEmbedder);
  folder = temporaryFolder();
  // Merged models are kept there.
  formerHome = process.env.MEMORY3_HOME;
  process.env.MEMORY3_HOME = folder.path;
  const model = join(folder.path, 'model');
  const { files } = await trainBytePairs([readFileSync(text, 'utf8')], { vocabularySize: 400 });
  createModel(model, shape, files, 1);
  using base = await openModelFile(model);
  const adapter = join(folder.path, 'adapter');
  const data = randomValues(summary * shape.hiddenSize, 0.1, 7);
  const profile = { layers: [0, 1], keptTokens: summary, scoring: 'summary', storage: 'f16' } as const;
  const card = await cardFor(base, { profile: { ...profile, layers: [0, 1] } });
  const tensors = new Map([[summaryTokensName, { shape: [summary, shape.hiddenSize], data }]]);
  writeAdapter(adapter, card, tensors, base.config);
  options = { model, adapter, embedder, bank: join(folder.path, 'bank.memory3') };
});
after(() => {
  if (formerHome === undefined) delete process.env.MEMORY3_HOME;
  else process.env.MEMORY3_HOME = formerHome;
  folder[Symbol.dispose]();
});

describe('an adapter with summary tokens', () => {
  it('writes a bank whose references leave room for them, and rewrites one that does not', async () => {
    const received = { ...options, profile: { scoring: 'received' } as const };
    const longest = async (opened: WorkspaceOptions) => {
      await using workspace = await openWorkspace(opened);
      const { header } = workspace.profile;
      const [document] = [...workspace.bank.documents()];
      const lengths = workspace.bank.references(document?.id as number).map(({ tokens }) => tokens.length);
      assert.equal(workspace.bank.stats().memories, lengths.length);
      return header.length + Math.max(...lengths);
    };
    {
      await using workspace = await openWorkspace({ ...received, bankMode: 'write' });
      for await (const { kind } of addSources(workspace, [text])) assert.notEqual(kind, 'skipped');
    }
    assert.ok((await longest(received)) > 128 - summary, 'other profiles use the room');
    {
      await using workspace = await openWorkspace(options);
      assert.equal(workspace.profile.scoring, 'received', 'as the bank, not as the adapter');
    }
    const bySummary = openWorkspace({ ...options, profile: { scoring: 'summary' } });
    await assert.rejects(bySummary, { code: 'mismatch', message: /20 tokens by summary/ });
    const otherwise = { ...options, profile: { storage: 'int8' } } as const;
    for await (const { kind } of rewriteLibrary(otherwise)) assert.notEqual(kind, 'skipped');
    // What differs from the adapter's card need not be said again.
    assert.ok((await longest(options)) <= 128 - summary);
  });

  it('recalls memories that are the summary tokens alone', async () => {
    await using workspace = await openWorkspace(options);
    assert.deepEqual([workspace.profile.scoring, workspace.profile.keptTokens], ['summary', summary]);
    const { memories } = await workspace.recall.recall('silent films', 2);
    assert.equal(memories.length, 2);
    for (const { memory, reference, source } of memories) {
      assert.equal(source, 'bank');
      const first = workspace.profile.header.length + reference.tokens.length;
      const expected = Array.from({ length: summary }, (_, i) => first + i);
      assert.deepEqual([...memory.positions], new Array(shape.layers * shape.kvHeads).fill(expected).flat());
    }
    const { model, profile } = workspace;
    await using context = await ReadingContext.open(model, { memory: { profile, memories: 2 } });
    const before = (await context.extend([[1, 2, 3]])).data;
    context.rewind(0);
    await context.useMemories(memories.map(({ memory }) => memory));
    assert.notDeepEqual((await context.extend([[1, 2, 3]])).data, before);
  });

  it('is needed for what it alone can do', async () => {
    const { model, adapter } = options;
    const summaryProfile = { scoring: 'summary', keptTokens: 4 } as const;
    await assert.rejects(openModel({ model, adapter: null, profile: summaryProfile }), {
      code: 'usage',
      message: /this model has none[\s\S]*adapter/,
    });
    await assert.rejects(openModel({ model, adapter, profile: { keptTokens: 4 } }), {
      code: 'usage',
      message: /keeps 4 summary tokens, and the adapter has 20/,
    });
  });
});
