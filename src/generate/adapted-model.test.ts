import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cardFor, randomTensors } from '../../test/support/adapter.ts';
import { openFamily } from '../../test/support/families.ts';
import { type TemporaryFolder, temporaryFolder } from '../../test/support/temporary.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { modelPath } from '../hub/fetch.ts';
import { adapterFileName, writeAdapter } from '../memory/adapter.ts';
import { openModelFile } from '../model/open.ts';
import { openAdaptedModel, shippedAdapters } from './adapted-model.ts';
import { examine } from './doctor.ts';
import { addDocuments, rewriteLibrary } from './library.ts';
import { openModel, openWorkspace } from './workspace.ts';

const profile = { layers: [20, 22, 24], keptTokens: 4, scoring: 'received', storage: 'f16' } as const;
const changed = 'model.layers.29.mlp.down_proj.weight';
let folder: TemporaryFolder;
let formerHome: string | undefined;
/** Paths of the default models, and of an adapter that changes one matrix. */
let model: string;
let embedder: string;
let adapter: string;
before(async () => {
  model = await modelPath(defaultLanguageModel);
  embedder = await modelPath(defaultEmbedder);
  folder = temporaryFolder();
  // Merged models are kept there.
  formerHome = process.env.MEMORY3_HOME;
  process.env.MEMORY3_HOME = folder.path;
  using base = await openModelFile(model);
  const tensors = randomTensors(base, [changed], 1, 0.2);
  adapter = join(folder.path, 'shipped', 'random');
  writeAdapter(
    adapter,
    await cardFor(base, { profile: { ...profile, layers: [...profile.layers] } }),
    tensors,
    base.config,
  );
});
after(() => {
  if (formerHome === undefined) delete process.env.MEMORY3_HOME;
  else process.env.MEMORY3_HOME = formerHome;
  folder[Symbol.dispose]();
});

test('its card gives the memory profile, what is asked for goes first, and null is the model of the file', async () => {
  await using plain = await openModel({ model, adapter: null });
  assert.equal(plain.adapter, null);
  assert.equal(plain.profile.keptTokens, 'all');
  await using opened = await openModel({ model, adapter, profile: { keptTokens: 8 } });
  assert.equal(opened.adapter?.card.name, 'random');
  const { header, ...rest } = opened.profile;
  assert.deepEqual(rest, { ...profile, keptTokens: 8 });
  assert.deepEqual(header, plain.profile.header);
  assert.equal(opened.file.name, `${plain.file.name} + random`);
  const [own, base] = [opened, plain].map(({ file }) => file.weights.get(changed));
  assert.notDeepEqual(own, base);
});

test('a bank of the base model is refused in words, and rewritten', async () => {
  const bank = join(folder.path, 'bank.memory3');
  const document = {
    name: 'bees',
    title: null,
    mediaType: 'text/plain',
    text: 'Bees dance to show where flowers are.',
  };
  {
    await using workspace = await openWorkspace({ model, embedder, bank, bankMode: 'write', adapter: null });
    for await (const event of addDocuments(workspace, [document])) assert.notEqual(event.kind, 'skipped');
  }
  await assert.rejects(
    openWorkspace({ model, embedder, bank, adapter }),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, 'mismatch');
      assert.match(
        error.message,
        /was written with model .*, profile layers 15-29, .*, not with model .* \+ random \(/,
      );
      assert.match(error.message, /--no-adapter[\s\S]*memory3 rewrite/);
      return true;
    },
  );
  for await (const event of rewriteLibrary({ model, embedder, bank, adapter })) assert.notEqual(event.kind, 'skipped');
  await using workspace = await openWorkspace({ model, embedder, bank, adapter });
  const { identity, memories } = workspace.bank.stats();
  assert.match(identity.model.name, / \+ random$/);
  assert.equal(identity.profile.name, 'layers 20,22,24, 4 tokens by received, f16');
  assert.equal(memories, 1);
});

test('the doctor names it', async () => {
  using tiny = await openFamily('llama');
  const path = join(folder.path, 'tiny');
  writeAdapter(path, await cardFor(tiny), randomTensors(tiny, ['model.norm.weight'], 1, 0.2), tiny.config);
  const checks = await Array.fromAsync(examine({ modelPath: tiny.path, adapter: path }));
  assert.match(checks.find(({ name }) => name === 'device cpu')?.detail ?? '', /^llama \+ random, \d/);
});

test('what ships for a model is its default; another model opens without', async () => {
  const shipped = join(folder.path, 'shipped');
  assert.deepEqual(
    shippedAdapters(shipped).map(({ path, card }) => [path, card.name]),
    [[adapter, 'random']],
  );
  assert.deepEqual(readdirSync(adapter).sort(), ['README.md', adapterFileName]);
  assert.deepEqual(shippedAdapters(join(folder.path, 'nowhere')), []);
  using tiny = await openFamily('llama');
  const opened = async (path: string, options = {}) => {
    const { adapter: own, file } = await openAdaptedModel(path, options, shipped);
    using _file = file;
    return [own?.card.name ?? null, await file.fingerprint()];
  };
  assert.deepEqual(await opened(tiny.path), [null, await tiny.fingerprint()]);
  const [name, fingerprint] = await opened(model);
  assert.equal(name, 'random');
  using base = await openModelFile(model);
  assert.notEqual(fingerprint, await base.fingerprint());
  assert.deepEqual(await opened(model, { adapter: null }), [null, await base.fingerprint()]);
});
