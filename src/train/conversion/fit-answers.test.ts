/** A classifier of answers, fitted to a tiny model on data sets of a few lines. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { conversionData } from '../../../test/support/conversion-data.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { type OpenedModel, openModel } from '../../generate/workspace.ts';
import { openAdapter } from '../../memory/adapter.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { LanguageModel } from '../../memory/model.ts';
import { encodeReferences } from '../../memory/writer.ts';
import { bodyTokens } from '../../retrieval/chunks.ts';
import { courseOf, readRunLog } from '../log.ts';
import { trainBytePairs } from '../scratch/byte-pair-encoding.ts';
import { createModel } from '../scratch/new-model.ts';
import { type ConvertRequest, convert } from './convert.ts';
import { areaUnderCurve, type FittedClassifier, fitAnswerClassifier, writeWithClassifier } from './fit-answers.ts';

const shape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 512 };

let data: TemporaryFolder;
let folder: TemporaryFolder;
let model: string;
let opened: OpenedModel;
let fitted: FittedClassifier;
before(async () => {
  data = conversionData();
  folder = temporaryFolder();
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const { files } = await trainBytePairs([readme], { vocabularySize: 400 });
  model = join(folder.path, 'model');
  createModel(model, shape, files, 1);
  opened = await openModel({ model, adapter: null, profile: { layers: 'all', keptTokens: 4 } });
  fitted = await fitAnswerClassifier(opened, data.path);
});
after(async () => {
  await opened[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
  data[Symbol.dispose]();
});

/** A conversion of one step. */
const request = (name: string, profile = opened.profile): ConvertRequest => ({
  ...{ opened, profile, data: data.path, name, card: { training: 'a test', results: [] } },
  run: join(folder.path, `run-${name}`),
  out: join(folder.path, name),
  options: { steps: 1, rank: 2, learn: [4], contexts: 10, references: 6, contextTokens: 90 },
});

describe('a fitted classifier of answers', () => {
  it('thinks the answer of a sentence that it has not seen more probable than the rest of it', async () => {
    // The data ask ten times for "Ann<number>" in such sentences.
    const text = 'Number 42 was the work of Ann42.';
    const tokens = bodyTokens(opened.tokenizer, text);
    const { file, model: plain, profile } = opened;
    const answerClassifier = { layers: profile.layers, weights: { kind: 'dense', ...fitted.tensor } } as const;
    const classified = new LanguageModel(file, plain.device, { answerClassifier });
    const scores = async (scoring: 'received' | 'answer-weighted') => {
      const [encoded] = await encodeReferences(classified, { ...profile, scoring }, [{ tokens }], []);
      return encoded?.scores?.subarray(0, tokens.length) as Float32Array;
    };
    const received = await scores('received');
    const probabilities = (await scores('answer-weighted')).map((score, token) => score / (received[token] as number));
    await classified.releaseSessions();
    const before = bodyTokens(opened.tokenizer, 'Number 42 was the work of').length;
    const mean = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [others, answer] = [mean(probabilities.slice(0, before)), mean(probabilities.slice(before, -1))];
    assert.ok(answer > 1.1 * others, `${answer} and ${others}`);
    assert.ok(
      probabilities.indexOf(Math.max(...probabilities)) >= before,
      'the most probable token is one of the answer',
    );
  });

  it('says what it was fitted to, and is the same again', async () => {
    const { references, tokens, answerShare } = fitted;
    // Of ten sentences of one set two are held out, and passages with several questions count once.
    assert.ok(references >= 10 && references < 20, `${references}`);
    assert.ok(tokens > 10 * references && answerShare > 0.01 && answerShare < 0.5, `${tokens}, ${answerShare}`);
    assert.deepEqual(await fitAnswerClassifier(opened, data.path), fitted);
    const few = await fitAnswerClassifier(opened, data.path, { references: 2 });
    assert.ok(few.references <= 8);
  });

  it('goes into an adapter, whose few tokens are kept by it then', async () => {
    const out = join(folder.path, 'plain');
    await convert(request('plain'));
    const path = join(folder.path, 'classified');
    await writeWithClassifier(out, opened.file, { out: path, tensor: fitted.tensor, training: 'fitted' });
    using before = await openAdapter(out, opened.file);
    using adapter = await openAdapter(path, opened.file);
    assert.deepEqual(adapter.answerClassifier?.weights.data, fitted.tensor.data);
    assert.equal(adapter.card.training, 'a test; fitted');
    assert.equal(adapter.fingerprint, before.fingerprint);
    assert.deepEqual(adapter.changes.names, before.changes.names);

    const open = (profile: Parameters<typeof openModel>[0] & object) => openModel({ model, adapter: path, ...profile });
    await using few = await open({ profile: { keptTokens: 3 } });
    assert.equal(few.profile.scoring, 'answer-weighted');
    await using other = await open({ profile: { keptTokens: 3, layers: '1' } });
    assert.equal(other.profile.scoring, 'answer-weighted', 'in other memory layers too');

    // Banks: other scores are another profile, but where all tokens are kept none is chosen.
    await using without = await openModel({ model, adapter: out, profile: { keptTokens: 3 } });
    const identity = (one: OpenedModel, keptTokens: number | 'all') =>
      profileIdentity({ ...one.profile, keptTokens }, one.model).fingerprint;
    assert.notEqual(identity(few, 3), identity(without, 3));
    assert.equal(identity(few, 'all'), identity(without, 'all'));
    const { shape } = fitted.tensor;
    const weights = { kind: 'dense', shape, data: fitted.tensor.data.map((weight) => 2 * weight) } as const;
    const otherScores = { answerClassifier: { layers: [0, 1], weights } };
    assert.notEqual(profileIdentity(few.profile, otherScores).fingerprint, identity(few, 3));
  });
});

describe('a conversion by a classifier of answers', () => {
  it('takes that of the adapter from which it goes on, and hands it on', async () => {
    const from = join(folder.path, 'from');
    await convert(request('beginning'));
    await writeWithClassifier(join(folder.path, 'beginning'), opened.file, { out: from, tensor: fitted.tensor });
    const profile = { ...opened.profile, scoring: 'answer-weighted' } as const;
    const { run, path } = await convert({ ...request('further', profile), from });
    const { run: plain } = await convert({ ...request('other'), from });
    using adapter = await openAdapter(path as string, opened.file);
    assert.equal(adapter.card.profile.scoring, 'answer-weighted');
    assert.deepEqual(adapter.answerClassifier?.weights.data, fitted.tensor.data);
    assert.ok(run.finished && plain.finished);
    const losses = ['further', 'other'].map((name) => {
      const { steps } = courseOf(readRunLog(join(folder.path, `run-${name}`, 'log.jsonl')));
      return steps[0]?.loss;
    });
    assert.notEqual(losses[0], losses[1], 'other tokens are kept');
  });

  it('is refused where there is none, before anything is trained', async () => {
    const profile = { ...opened.profile, scoring: 'answer-weighted' } as const;
    const refused = request('refused', profile);
    await assert.rejects(convert(refused), { code: 'usage', message: /no classifier/ });
    assert.ok(!existsSync(refused.run));
  });
});

describe('the area under the curve', () => {
  const area = (pairs: readonly (readonly [positive: boolean, score: number])[]) =>
    areaUnderCurve(pairs.map(([positive, score]) => ({ positive, score })));
  it('is the share of pairs in the right order, ties half', () => {
    assert.equal(
      area([
        [true, 3],
        [false, 1],
        [false, 2],
      ]),
      1,
    );
    assert.equal(
      area([
        [true, 1],
        [false, 2],
        [false, 3],
        [true, 4],
      ]),
      0.5,
    );
    assert.equal(
      area([
        [true, 1],
        [false, 1],
        [true, 2],
        [false, 0],
      ]),
      0.875,
    );
  });
  it('is unknown where one kind is missing', () => {
    assert.equal(area([[true, 1]]), null);
    assert.equal(area([]), null);
  });
});
