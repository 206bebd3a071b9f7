/** Whole fine-tunings of a tiny model in a folder, from files and a bank to results that open again. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cardFor } from '../../../test/support/adapter.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { tinyShape } from '../../../test/support/tiny-trained.ts';
import type { BankIdentity, NewDocument } from '../../bank/bank.ts';
import { rewriteBank } from '../../bank/rewrite.ts';
import { openBank, readIdentity } from '../../bank/sqlite.ts';
import { addDocuments } from '../../generate/library.ts';
import { openModel, openWorkspace } from '../../generate/workspace.ts';
import { loraNames } from '../../graph/parameters.ts';
import {
  type Adapter,
  answerClassifierName,
  openAdapter,
  summaryTokensName,
  writeAdapter,
} from '../../memory/adapter.ts';
import { classifierShape } from '../../memory/answer-classifier.ts';
import type { ModelConfig } from '../../model/config.ts';
import { mergedWeights, mergeTensor } from '../../model/merged-weights.ts';
import { openModelFile } from '../../model/open.ts';
import { toDense } from '../../model/quantised.ts';
import type { DenseTensor, Weights } from '../../model/weights.ts';
import { courseOf, readRunLog } from '../log.ts';
import { readRunCheckpoint } from '../run-folder.ts';
import { trainBytePairs } from '../scratch/byte-pair-encoding.ts';
import { createModel } from '../scratch/new-model.ts';
import { type FineTuningOptions, fineTuneAnswers, fineTunePreferences } from './fine-tune.ts';
import { saveResult } from './result.ts';
import type { PreferenceSettings, SupervisedSettings } from './settings.ts';

let folder: TemporaryFolder;
let common: Omit<FineTuningOptions, 'folder'>;
let preferences: string;

const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join('\n');
const bees = 'The queen of the bees is called Isolde. She was born in May.';
const clocks = 'Clocks are wound on the first day of the month by the porter.';

before(async () => {
  folder = temporaryFolder();
  const model = join(folder.path, 'model');
  const chats = [
    { prompt: 'What is the queen called?', answers: ['She is called Isolde.'] },
    { prompt: 'Who winds the clocks?', answers: ['The porter does.'] },
    { instruction: 'Say when she was born.', output: 'In May, as all of them.' },
    { prompt: 'Too long?', answers: ['no '.repeat(600)] },
  ];
  const { files } = await trainBytePairs([bees, clocks, ...chats.map((chat) => JSON.stringify(chat))], {
    vocabularySize: 300,
  });
  createModel(model, tinyShape, files, 3);
  const data = [folder.write('chats.jsonl', lines(chats))];
  preferences = folder.write(
    'preferences.jsonl',
    lines([
      {
        messages: [
          { role: 'user', content: 'Where are the bees?' },
          { role: 'assistant', content: 'Here.' },
          { role: 'user', content: 'What is the queen called?' },
        ],
        chosen: 'Isolde.',
        rejected: 'Nobody knows.',
      },
      { prompt: 'Who winds the clocks?', chosen: 'The porter.', rejected: 'The queen of the bees.' },
      { prompt: 'Equal?', chosen: 'Yes.', rejected: 'Yes.' },
    ]),
  );
  const profile = { layers: 'last-half', keptTokens: 4 } as const;
  const device = { threads: 1 };
  const bank = join(folder.path, 'bank.memory3');
  {
    await using workspace = await openWorkspace({ model, bank, bankMode: 'write', profile, ...device });
    const documents = [bees, clocks].map((text, i) => ({ name: `${i}`, title: null, mediaType: 'text/plain', text }));
    await Array.fromAsync(addDocuments(workspace, documents, { memories: false }));
  }
  common = { model, data, validation: data, bank, profile, device };
});
after(() => folder[Symbol.dispose]());

const quick: SupervisedSettings & PreferenceSettings = { steps: 6, batch: 1, rate: 5e-3, length: 256 };

function validationsOf(run: string) {
  return courseOf(readRunLog(join(run, 'log.jsonl'))).validations.map(({ losses }) => losses);
}

/** The loss of a result that is opened anew, before another step. */
async function lossOf(options: Partial<FineTuningOptions>, run: string): Promise<number> {
  await fineTuneAnswers({ ...common, ...options, folder: run }, { ...quick, steps: 1 });
  return validationsOf(run)[0]?.answers as number;
}

/** That an adapter adds what the one beneath it does and what the run trained on top, of rank 2 and scale 4. */
async function checkStacked(beneath: string, both: string, run: string): Promise<void> {
  using file = await openModelFile(common.model as string);
  using first = await openAdapter(beneath, file);
  using second = await openAdapter(both, file);
  const [under, merged] = [first, second].map(({ changes }) => mergedWeights(file.weights, changes, 'f32'));
  const { tensors } = readRunCheckpoint(run).state;
  const trained = (name: string) => ({ kind: 'dense', ...tensors.get(`weights:${name}`) }) as DenseTensor;
  assert.ok(second.changes.names.length > 0);
  for (const name of second.changes.names) {
    const names = loraNames(name);
    const lowRank = { a: trained(names.a), b: trained(names.b), scale: 4 };
    const expected = toDense(mergeTensor((under as Weights).get(name), { lowRank }, 'f32')).data;
    const found = toDense((merged as Weights).get(name)).data;
    for (const [i, value] of expected.entries()) assert.ok(Math.abs((found[i] as number) - value) < 1e-6, name);
  }
}

/** An adapter of nothing but two summary tokens. */
async function withSummaryTokens(path: string): Promise<string> {
  using file = await openModelFile(common.model as string);
  const profile = { layers: [1], keptTokens: 2, scoring: 'summary', storage: 'int8' } as const;
  const card = await cardFor(file, { profile: { ...profile, layers: [1] } });
  const shape = [2, file.config.hiddenSize];
  const data = new Float32Array(2 * file.config.hiddenSize).fill(0.5);
  return writeAdapter(path, card, new Map([[summaryTokensName, { shape, data }]]), file.config);
}

/** An adapter of nothing but a classifier of answers. */
async function withClassifier(path: string): Promise<[string, ModelConfig]> {
  using file = await openModelFile(common.model as string);
  const profile = { layers: [1], keptTokens: 'all', scoring: 'answer-weighted', storage: 'int8' } as const;
  const card = await cardFor(file, { profile: { ...profile, layers: [1] } });
  const shape = classifierShape(file.config, [1], 2);
  const tensors = new Map([[answerClassifierName, { shape, data: new Float32Array(shape[0] * shape[1]).fill(0.1) }]]);
  return [writeAdapter(path, card, tensors, file.config), file.config];
}

/** That a run is refused a bank that is half rewritten for another tokenizer, and one that was and so is cut otherwise. */
async function checkBank(run: string): Promise<void> {
  const bank = join(folder.path, 'cut.memory3');
  cpSync(common.bank as string, bank);
  const cutOtherwise = (): NewDocument[] => {
    using stored = openBank(bank, { mode: 'read' });
    return [...stored.documents()].map(({ id, name, title, mediaType }) => {
      const references = stored.references(id).map(({ id: reference, start, end, text, tokens }) => ({
        ...{ start, end: end - 1, text: text.slice(0, -1), tokens },
        vector: stored.vector(reference),
      }));
      return { name, title, mediaType, text: stored.documentText(id), references };
    });
  };
  const documents = cutOtherwise();
  const identity = readIdentity(bank) as BankIdentity;
  rewriteBank(bank, { ...identity, model: { name: 'another', fingerprint: '0'.repeat(64) } });
  const options = { ...common, bank, folder: run };
  await assert.rejects(fineTuneAnswers(options, quick), { code: 'mismatch', message: /wait for being written again/ });
  {
    using written = openBank(bank, { mode: 'write' });
    for (const document of documents) written.putDocument(document);
    written.prepareSearch();
  }
  await assert.rejects(fineTuneAnswers(options, quick), { code: 'mismatch', message: /memory\.bank was/ });
}

describe('fine-tuning', () => {
  it('makes adapters on adapters, and models, that are what was trained', async () => {
    const notices: string[] = [];
    const first = join(folder.path, 'first');
    const onNotice = (notice: string) => notices.push(notice);
    const sft = await fineTuneAnswers({ ...common, folder: first, onNotice }, quick);
    assert.equal(sft.finished, true);
    assert.equal(sft.examples, 3);
    assert.deepEqual(notices.slice(0, 1), ['1 of 4 conversations are longer than 256 tokens: left out.']);
    assert.ok((sft.references?.found ?? 0) > 0);
    const [before, trained] = validationsOf(first).map(({ answers }) => answers as number) as [number, number];
    assert.ok(trained < before - 0.05, `${before} to ${trained}`);
    assert.equal(sft.saved?.kind, 'adapter');
    const adapter = sft.saved?.path as string;

    {
      await using opened = await openModel({ model: common.model as string, adapter });
      assert.equal(opened.adapter?.card.name, 'first');
      assert.deepEqual([opened.profile.layers, opened.profile.keptTokens], [[1], 4]);
      assert.equal(opened.adapter?.card.data[0]?.examples, 3);
    }

    // LoRA on LoRA: the loss goes on where it was, and one adapter holds both.
    const second = join(folder.path, 'second');
    const dpo = await fineTunePreferences(
      { ...common, data: [preferences], validation: [preferences], adapter, folder: second, onNotice },
      { ...quick, lora: { rank: 2, scale: 4 }, beta: 0.1, rounds: 1 },
    );
    assert.ok(notices.includes('1 of 3 preferences prefer an answer to itself: left out.'), `${notices}`);
    assert.ok(notices.includes('1 preferences had more than 1 rounds: the last 1 are kept.'), `${notices}`);
    const [even, better] = validationsOf(second).map((losses) => losses.preferences as number) as [number, number];
    assert.ok(Math.abs(even - Math.LN2) < 1e-5);
    assert.ok(better < even);
    assert.equal(readFileSync(join(second, 'frozen-likelihoods.jsonl'), 'utf8').split('\n').length, 4);
    const both = dpo.saved?.path as string;
    // What it is validated with may change.
    const one = [folder.write('one.jsonl', lines([{ prompt: 'Who?', chosen: 'The porter.', rejected: 'The bees.' }]))];
    const otherwise = await fineTunePreferences(
      { ...common, data: [preferences], validation: one, adapter, folder: second },
      { ...quick, lora: { rank: 2, scale: 4 }, beta: 0.1, rounds: 1 },
    );
    assert.deepEqual([otherwise.finished, otherwise.step], [true, 6]);
    assert.ok(Math.abs((await lossOf({ adapter }, join(folder.path, 'again'))) - trained) < 1e-5);

    await checkStacked(adapter, both, second);

    // All weights, on both: a model of its own.
    const third = join(folder.path, 'third');
    const whole = await fineTuneAnswers({ ...common, adapter: both, folder: third }, { ...quick, lora: null });
    assert.equal(whole.saved?.kind, 'model');
    const [start, end] = validationsOf(third).map(({ answers }) => answers as number) as [number, number];
    assert.ok(end < start);
    const model = whole.saved?.path as string;
    assert.ok(Math.abs((await lossOf({ model, adapter: null }, join(folder.path, 'last'))) - end) < 1e-5);
    assert.ok(Math.abs(start - trained) > 1e-4);
  });

  it('goes on where it was interrupted, and only with the same', async () => {
    const run = join(folder.path, 'interrupted');
    const stop = new AbortController();
    const stopped = await fineTuneAnswers(
      {
        ...common,
        folder: run,
        signal: stop.signal,
        onEvent: (event) => {
          if (event.kind === 'step' && event.step === 2) stop.abort();
        },
      },
      quick,
    );
    assert.deepEqual([stopped.step, stopped.finished, stopped.saved], [2, false, null]);
    assert.ok(!existsSync(join(run, 'adapter')));
    const other = fineTuneAnswers({ ...common, folder: run }, { ...quick, batch: 2 });
    await assert.rejects(other, { code: 'mismatch', message: /batch was 1, is 2/ });
    const withoutMemory = fineTuneAnswers({ ...common, bank: null, folder: run }, quick);
    await assert.rejects(withoutMemory, { code: 'mismatch', message: /memory/ });
    const preferring = { ...common, data: [preferences], validation: [preferences], folder: run };
    await assert.rejects(fineTunePreferences(preferring, quick), {
      code: 'mismatch',
      message: /kind was "sft", is "dpo"/,
    });
    assert.ok(!existsSync(join(run, 'frozen-likelihoods.jsonl')));
    await checkBank(run);
    const scratched = join(folder.path, 'scratched');
    cpSync(run, scratched, { recursive: true });
    const finished = await fineTuneAnswers({ ...common, folder: run }, quick);
    assert.equal(finished.finished, true);
    assert.deepEqual(validationsOf(run).at(-1), validationsOf(join(folder.path, 'first')).at(-1));
    // The log decides nothing: a line of it that is damaged is left out of the card, and said.
    const log = join(scratched, 'log.jsonl');
    writeFileSync(log, readFileSync(log, 'utf8').replace('{', '#'));
    const notices: string[] = [];
    const onNotice = (notice: string) => notices.push(notice);
    const { saved } = await fineTuneAnswers({ ...common, folder: scratched, onNotice }, quick);
    assert.ok(saved !== null && existsSync(saved.path));
    assert.match(notices.at(-1) ?? '', /^Line 1 of .*log\.jsonl is not JSON\..* left out\.$/);
  });

  it('is interrupted while it reads what is learned, before there is a run', async () => {
    const folders = ['sft', 'dpo'].map((name) => join(folder.path, `unread-${name}`)) as [string, string];
    const options = { ...common, bank: null, signal: AbortSignal.abort() };
    const { validation: _, ...preferring } = { ...options, data: [preferences] };
    const interrupted = { name: 'AbortError' };
    await assert.rejects(fineTuneAnswers({ ...options, folder: folders[0] }, quick), interrupted);
    await assert.rejects(fineTunePreferences({ ...preferring, folder: folders[1] }, quick), interrupted);
    for (const path of folders) assert.ok(!existsSync(path));
  });

  it('keeps the tokens that an adapter chooses by a classifier of answers, and hands that on', async () => {
    const [adapter, config] = await withClassifier(join(folder.path, 'classifier'));
    const settings = { ...quick, steps: 1 };
    const options = { ...common, adapter, bank: common.bank as string };
    const run = join(folder.path, 'classified');
    const profile = { keptTokens: 'all', layers: '0' } as const;
    const { saved } = await fineTuneAnswers({ ...options, profile, folder: run }, settings);
    using file = await openModelFile(common.model as string);
    using tuned = await openAdapter(saved?.path as string, file);
    assert.equal(tuned.card.profile.scoring, 'answer-weighted');
    assert.deepEqual(tuned.card.profile.layers, [0]);
    assert.deepEqual(tuned.answerClassifier?.layers, [1]);
    assert.deepEqual(tuned.answerClassifier?.weights.shape, classifierShape(config, [1], 2));
    const losses = [];
    for (const profile of [
      { keptTokens: 4 },
      { keptTokens: 4, scoring: 'received' },
      { keptTokens: 4, scoring: 'random' },
    ] as const) {
      const few = join(folder.path, `few-${profile.scoring}`);
      await fineTuneAnswers({ ...options, profile, folder: few }, settings);
      losses.push(validationsOf(few).at(-1));
    }
    assert.equal(new Set(losses.map((loss) => JSON.stringify(loss))).size, 3, 'each keeps other tokens');
  });

  it('refuses what cannot be trained', async () => {
    const run = join(folder.path, 'refused');
    const cases: [Partial<FineTuningOptions>, SupervisedSettings, string, RegExp][] = [
      [{}, { ...quick, length: 100 }, 'usage', /multiple of 64/],
      [{}, { ...quick, length: 1024 }, 'usage', /longer than the 896/],
      [{ profile: { scoring: 'summary', keptTokens: 4 } }, quick, 'usage', /Summary tokens are learned/],
      [{ profile: { scoring: 'answer-weighted', keptTokens: 4 } }, quick, 'usage', /no classifier/],
      // The card of what is learned would name a classifier that is not there.
      [{ profile: { scoring: 'answer-weighted', keptTokens: 'all' } }, quick, 'usage', /no classifier/],
      [{ profile: { scoring: 'answer-weighted' }, bank: null }, quick, 'usage', /no classifier/],
      [{ profile: { scoring: 'summary', keptTokens: 4 }, bank: null }, quick, 'usage', /Summary tokens are learned/],
      [{ bank: join(folder.path, 'nowhere.memory3') }, quick, 'not-found', /nowhere/],
      [{ data: [folder.write('empty.jsonl', '\n')] }, quick, 'usage', /empty\.jsonl can be learned/],
      [{ validation: [folder.write('empty.jsonl', '\n')] }, quick, 'usage', /empty\.jsonl can be validated with/],
      [{}, { ...quick, rate: 0 }, 'usage', /rate/],
      [{ card: { licence: ' ' } }, quick, 'usage', /^licence: /],
    ];
    for (const [options, settings, code, message] of cases) {
      await assert.rejects(fineTuneAnswers({ ...common, ...options, folder: run }, settings), { code, message });
    }
    const adapter = await withSummaryTokens(join(folder.path, 'summary'));
    const whole = fineTuneAnswers({ ...common, adapter, bank: null, folder: run }, { ...quick, lora: null });
    await assert.rejects(whole, { code: 'usage', message: /summary tokens of random\.\n.*without --all-weights/ });
    folder.write('occupied/model/config.json', '{}');
    const occupied = { ...common, folder: join(folder.path, 'occupied') };
    const refusal = { code: 'usage', message: /Move .*occupied.model away; the same command/ };
    await assert.rejects(fineTuneAnswers(occupied, { ...quick, lora: null }), refusal);
    assert.ok(!existsSync(join(occupied.folder, 'log.jsonl')), 'before anything is trained');
    const long = { chosen: 'no '.repeat(600), rejected: 'No.' };
    const validation = [folder.write('long.jsonl', lines([{ prompt: 'Too long?', ...long }]))];
    const ofPreferences = { ...common, data: [preferences], validation, folder: run };
    await assert.rejects(fineTunePreferences(ofPreferences, quick), {
      code: 'usage',
      message: /long\.jsonl can be validated with[\s\S]*256 tokens, or choose a larger --length/,
    });
    assert.ok(!existsSync(join(run, 'frozen-likelihoods.jsonl')));
    assert.ok(!existsSync(join(run, 'config.json')));
  });

  it('of all weights of a model that no folder describes makes an adapter of differences', async () => {
    using file = await openModelFile(common.model as string);
    const base = { ...file, tokenizerSource: () => ({ kind: 'gguf', metadata: new Map() }) as const };
    const tensors = new Map(
      file.weights.names.map((name) => {
        const { shape, data } = toDense(file.weights.get(name));
        return [name, { shape, data: data.map((value, i) => value + (i % 7) / 64) }];
      }),
    );
    const profile = { layers: [1], keptTokens: 4, scoring: 'received', storage: 'int8', header: [0] } as const;
    const card = { licence: 'CC0-1.0', data: [], training: 'test', results: [] };
    const saved = await saveResult(
      join(folder.path, 'differences'),
      { base, adapter: null, profile: { ...profile, layers: [1], header: [0] }, loraScale: null, tensors },
      card,
    );
    assert.equal(saved.kind, 'adapter');
    using adapter: Adapter = await openAdapter(saved.path, file);
    const merged = mergedWeights(file.weights, adapter.changes, 'f32');
    for (const [name, { data }] of tensors) {
      const found = toDense(merged.get(name)).data;
      for (const [i, value] of data.entries()) assert.ok(Math.abs((found[i] as number) - value) < 1e-6, name);
    }
  });
});
