/** From texts to a model that every command opens: prepared with the real embedder, two stages of a tiny model. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { comparableLog } from '../../../test/support/small-network.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../test/support/temporary.ts';
import { ReadingContext } from '../../memory/context.ts';
import { LanguageModel } from '../../memory/model.ts';
import { openModelFile } from '../../model/open.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import { openEmbedder } from '../../retrieval/embedder.ts';
import { Device } from '../../runtime/device.ts';
import { overlap } from '../data/overlap.ts';
import { readDocuments, type TextDocument } from '../data/readers.ts';
import { courseOf, readRunLog } from '../log.ts';
import { readRunCheckpoint } from '../run-folder.ts';
import { trainBytePairs } from '../scratch/byte-pair-encoding.ts';
import { createModel } from '../scratch/new-model.ts';
import { arms } from './arm-results.ts';
import { evaluatePretraining } from './evaluate.ts';
import { type ExperimentOptions, runExperiment } from './experiment.ts';
import { openPrepared, type PrepareOptions, prepareTraining } from './prepared.ts';
import { lossNames } from './pretraining.ts';
import { readStage, runStage, type StageOptions } from './stage.ts';

const library = fileURLToPath(new URL('../../../assets/library', import.meta.url));
const shape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 512 };

let folder: TemporaryFolder;
let device: Device;
let corpus: string;
/** Without knowledge; without validation sequences too. */
let bare: string;
let unmeasured: string;
let documents: TextDocument[];
let options: PrepareOptions;
before(async () => {
  folder = temporaryFolder();
  device = new Device();
  corpus = join(folder.path, 'corpus');
  const files = ['amazon-rainforest.md', 'allan-dwan.txt'];
  const parts = readDocuments(
    files.map((name) => join(library, name)),
    { partCharacters: 1500 },
  );
  documents = await Array.fromAsync(parts);
  options = {
    folder: corpus,
    documents: () => documents,
    vocabularySize: 400,
    sequenceLength: 128,
    validation: 0.2,
    knowledgeShare: 0.4,
    openEmbedder: () => openEmbedder('all-minilm-l6-v2', device),
  };
  await prepareTraining(options);
  bare = join(folder.path, 'bare');
  await prepareTraining({ ...options, folder: bare, knowledgeShare: 0 });
  unmeasured = join(folder.path, 'unmeasured');
  await prepareTraining({ ...options, folder: unmeasured, knowledgeShare: 0, validation: 0 });
});
after(async () => {
  await device[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

describe('prepareTraining', () => {
  it('gives every document to one side, and every chunk a reference from the other', () => {
    using prepared = openPrepared(corpus);
    const { summary, references, tokenizer } = prepared;
    const { knowledge } = summary;
    assert.ok(knowledge !== null && references?.validation);
    const { report, train, validation } = prepared.corpus;
    assert.equal(report.documents + knowledge.documents, documents.length);
    assert.ok(knowledge.documents > 2 && report.train.documents > 2 && validation.count > 0);
    assert.equal(knowledge.train.found + knowledge.train.none, 2 * train.count);
    assert.ok(knowledge.train.found > knowledge.train.none);
    for (let index = 0; index < train.count; index++) {
      for (const { reference } of references.train.choices(index)) {
        if (reference === null) continue;
        assert.ok(overlap(train.sequence(index), reference.tokens) <= 0.9);
        const text = tokenizer.decode(Array.from(reference.tokens)).trim();
        const sources = documents.filter((document) => document.text.includes(text.slice(0, 40)));
        assert.ok(sources.length > 0, text);
      }
    }
  });

  it('makes the same again, without texts that are gone', async () => {
    const files = ['train.tokens', 'train.references', 'validation.references'].map((name) => join(corpus, name));
    const before = files.map((path) => readFileSync(path));
    const summary = await prepareTraining(options);
    assert.deepEqual(
      files.map((path) => readFileSync(path)),
      before,
    );
    const small = { ...options, folder: join(folder.path, 'small'), documents: () => documents.slice(0, 4) };
    const extra = () => [documents[8] as TextDocument];
    const first = await prepareTraining({ ...small, knowledge: extra, knowledgeShare: 0, tokenizer: trained() });
    assert.equal(first.knowledge?.documents, 1);
    const other = () => [documents[9] as TextDocument];
    const second = await prepareTraining({ ...small, knowledge: other, knowledgeShare: 0, tokenizer: trained() });
    assert.equal(second.knowledge?.documents, 1);
    assert.equal(summary.knowledge?.documents, documents.length - summary.report.documents);
    // Texts that share a name are texts all the same.
    const alike = () => [extra(), other()].flat().map((document) => ({ ...document, id: 'alike' }));
    const third = await prepareTraining({ ...small, knowledge: alike, knowledgeShare: 0, tokenizer: trained() });
    assert.equal(third.knowledge?.documents, 2);
  });

  it('is made by one process, which removes what a killed one has left', async () => {
    const place = folder.write('shared/train.tokens.77.unfinished', 'half').replace(/[^/\\]*$/, '');
    const shared = { ...options, folder: place, knowledgeShare: 0, tokenizer: trained() };
    let second: Promise<unknown> | undefined;
    const watched = function* () {
      second ??= assert.rejects(prepareTraining(shared), { code: 'locked', message: /shared/ });
      yield* documents;
    };
    await prepareTraining({ ...shared, documents: watched });
    await second;
    assert.ok(second !== undefined && !existsSync(join(place, 'train.tokens.77.unfinished')));
  });

  it('stays as it is when another one fails before all texts are read', async () => {
    const place = join(folder.path, 'standing');
    cpSync(corpus, place, { recursive: true });
    const names = ['tokenizer/tokenizer.json', 'train.tokens', 'report.json', 'prepared.json'];
    const contents = () => names.map((name) => readFileSync(join(place, name)));
    const before = contents();
    const abort = new AbortController();
    const failures: [Partial<PrepareOptions>, object][] = [
      [{ documents: () => readDocuments([join(folder.path, 'mistyped')]) }, { code: 'not-found' }],
      [{ sequenceLength: 64_000 }, { code: 'usage', message: /Nothing to/ }],
      // Texts whose tokenizer is not that of the knowledge.
      [{ documents: () => documents.slice(0, 8) }, { code: 'mismatch', message: /another tokenizer/ }],
      [
        { signal: abort.signal, onProgress: ({ phase }) => phase === 'corpus' && abort.abort() },
        { name: 'AbortError' },
      ],
    ];
    for (const [changes, error] of failures) {
      await assert.rejects(prepareTraining({ ...options, folder: place, ...changes }), error);
      assert.deepEqual(contents(), before);
      openPrepared(place)[Symbol.dispose]();
    }
  });

  it('is refused if a bit of it has flipped', () => {
    for (const name of ['train.tokens', 'validation.tokens']) {
      const other = join(folder.path, `flipped-${name}`);
      cpSync(corpus, other, { recursive: true });
      const bytes = readFileSync(join(other, name));
      // Of the last token: one of the vocabulary is left.
      bytes[bytes.length - 2] = (bytes.at(-2) as number) ^ 1;
      writeFileSync(join(other, name), bytes);
      assert.throws(() => openPrepared(other), { code: 'damaged', message: /checksum/ });
    }
  });

  it('is not finished before its end', async () => {
    const abort = new AbortController();
    const interrupted = prepareTraining({
      ...options,
      folder: join(folder.path, 'half'),
      signal: abort.signal,
      onProgress: ({ phase }) => {
        if (phase === 'train references') abort.abort();
      },
    });
    await assert.rejects(interrupted, { name: 'AbortError' });
    assert.throws(() => openPrepared(join(folder.path, 'half')), { code: 'not-found', message: /train prepare/ });
  });

  const trained = () => {
    using prepared = openPrepared(corpus);
    return prepared.tokenizerFiles;
  };
});

const settings = {
  rate: 0.01,
  stepSequences: 2,
  passSequences: 2,
  validationSequences: 3,
  validateEvery: 4,
  checkpointEvery: 2,
};

describe('two stages', () => {
  const stage = (name: string, changes: Partial<StageOptions>): StageOptions => ({
    folder: join(folder.path, name),
    corpus,
    model: { shape, seed: 7 },
    memory: null,
    steps: 8,
    device: { threads: 1 },
    ...settings,
    ...changes,
  });
  const continual = (name: string, changes: Partial<StageOptions> = {}) =>
    stage(name, {
      model: { from: join(folder.path, 'warmup') },
      memory: { layers: 'first-half' },
      steps: 6,
      ...changes,
    });
  before(async () => {
    await runStage(stage('warmup', {}));
    await runStage(continual('continual'));
  });

  it('learn, go on where the first has stopped in the corpus, and leave models that open', async () => {
    const course = (name: string) => courseOf(readRunLog(join(folder.path, name, 'log.jsonl')));
    const { steps, validations } = course('warmup');
    assert.equal(steps.length, 8);
    assert.ok((steps.at(-1)?.loss as number) < (steps[0]?.loss as number) - 0.2);
    assert.deepEqual(Object.keys(validations.at(-1)?.losses ?? {}), [lossNames.plain]);
    const next = course('continual');
    assert.deepEqual(Object.keys(next.validations[0]?.losses ?? {}), [lossNames.plain, lossNames.memory]);
    // Before its first step the second stage is what the first has left.
    assert.equal(next.validations[0]?.losses[lossNames.plain], validations.at(-1)?.losses[lossNames.plain]);
    assert.equal(readStage(join(folder.path, 'continual')).config.firstDraw, 16);
    using file = await openModelFile(readStage(join(folder.path, 'continual')).model);
    const model = new LanguageModel(file, device, { precision: 'f32' });
    await using context = await ReadingContext.open(model, { memory: null });
    const { bosTokenId, encode } = openTokenizer(file.tokenizerSource());
    const logits = await context.extend([[bosTokenId, ...encode('The Amazon')]], 'all');
    assert.ok(logits.data.every(Number.isFinite));
  });

  it('interrupted and gone on with have bit-identical losses and weights', async () => {
    for (const [name, make] of [
      ['warmup', (again: string) => stage(again, {})],
      ['continual', (again: string) => continual(again)],
    ] as const) {
      const again = `${name}-again`;
      for (const stopAt of [3, null]) {
        const interrupt = new AbortController();
        const result = await runStage({
          ...make(again),
          signal: interrupt.signal,
          onEvent: (event) => {
            if (event.kind === 'step' && event.step === stopAt) interrupt.abort();
          },
        });
        assert.equal(result.finished, stopAt === null);
        assert.equal(existsSync(result.model), stopAt === null);
      }
      const [first, second] = [join(folder.path, name), join(folder.path, again)];
      assert.deepEqual(comparableLog(second), comparableLog(first));
      assert.deepEqual(readRunCheckpoint(second).state, readRunCheckpoint(first).state);
    }
  });

  it('are measured with memories and without, whichever they were trained with', async () => {
    for (const name of ['warmup', 'continual']) {
      const { model } = readStage(join(folder.path, name));
      const { plain, memory } = await evaluatePretraining({ model, corpus, device: { threads: 1 } });
      assert.ok(plain.sequences.length > 3 && memory?.sequences.length === plain.sequences.length);
      assert.ok(Number.isFinite(plain.loss) && Number.isFinite(memory.loss) && memory.loss !== plain.loss);
    }
  });

  it('refuse what does not belong together', async () => {
    await assert.rejects(runStage(continual('continual', { memory: { layers: 'all' } })), {
      code: 'mismatch',
      message: /memory\.layers/,
    });
    const narrow = { shape: { ...shape, contextLength: 64 }, seed: 7 };
    folder.write('occupied/model/config.json', '{}');
    await assert.rejects(runStage(stage('occupied', {})), { code: 'usage', message: /Move .*occupied.model away/ });
    assert.ok(!existsSync(join(folder.path, 'occupied', 'log.jsonl')), 'before anything is trained');
    await assert.rejects(runStage(stage('narrow', { model: narrow })), {
      code: 'usage',
      message: /128 .* the 64 that/,
    });
    const close = { shape: { ...shape, contextLength: 128 + 127 }, seed: 7 };
    await assert.rejects(runStage(stage('close', { model: close, memory: {} })), {
      code: 'usage',
      message: /128 .* the 127 that the model can read behind its memories/,
    });
    await assert.rejects(runStage(stage('summary', { memory: { scoring: 'summary' } })), { code: 'usage' });
    await assert.rejects(runStage(continual('x', { model: { from: folder.path } })), { code: 'not-found' });
    await assert.rejects(runStage(continual('x', { model: { from: join(folder.path, 'none') } })), {
      code: 'not-found',
    });
    await assert.rejects(runStage(stage('y', { corpus: bare, memory: {} })), {
      code: 'usage',
      message: /no knowledge/,
    });
    await assert.rejects(runStage(continual('z', { corpus: bare })), { code: 'mismatch', message: /another corpus/ });
  });

  it('are not gone on from or measured where the result would be of something else', async () => {
    const longer = join(folder.path, 'longer');
    cpSync(join(folder.path, 'warmup'), longer, { recursive: true });
    const interrupt = new AbortController();
    const onEvent = () => interrupt.abort();
    await runStage(stage('longer', { steps: 12, signal: interrupt.signal, onEvent }));
    await assert.rejects(runStage(continual('x', { model: { from: longer } })), {
      code: 'not-found',
      message: /not finished: it has \d+ of 12 steps/,
    });
    // Killed when all steps were done, but before its model was written.
    const ended = join(folder.path, 'ended');
    cpSync(longer, ended, { recursive: true });
    cpSync(join(longer, 'model'), join(folder.path, 'kept-model'), { recursive: true });
    await runStage(stage('ended', { steps: 12 }));
    const goOn = () => runStage(continual('x', { model: { from: ended } }));
    rmSync(join(ended, 'model'), { recursive: true });
    await assert.rejects(goOn(), { code: 'not-found', message: /has done 12 steps, but its model is missing/ });
    cpSync(join(folder.path, 'kept-model'), join(ended, 'model'), { recursive: true });
    await assert.rejects(goOn(), { code: 'not-found', message: /that of step 8\.\n.*once more/ });
    await runStage(stage('ended', { steps: 12 }));
    await goOn();
    const { files } = await trainBytePairs(['Other texts have other tokens. '.repeat(9)], { vocabularySize: 290 });
    const model = join(folder.path, 'foreign');
    createModel(model, shape, files, 1);
    await assert.rejects(evaluatePretraining({ model, corpus }), { code: 'mismatch', message: /another tokenizer/ });
  });

  it('are not measured where nothing was kept to measure on', async () => {
    const { model } = readStage(join(folder.path, 'warmup'));
    await assert.rejects(evaluatePretraining({ model, corpus: unmeasured }), {
      code: 'usage',
      message: /no validation sequence[\s\S]*--validation/,
    });
  });
});

describe('runExperiment', () => {
  it('trains nothing on a corpus that does not serve it', async () => {
    const runs = join(folder.path, 'useless');
    const oneStep = { ...settings, steps: 1 };
    for (const [corpus, message] of [
      [bare, /no knowledge/],
      [unmeasured, /no validation sequence/],
    ] as const) {
      const useless = runExperiment({
        folder: runs,
        results: join(runs, 'arms'),
        corpus,
        shapes: { small: shape, double: shape },
        seeds: [1],
        stages: { small: [oneStep, oneStep], double: [oneStep, oneStep] },
        memory: {},
      });
      await assert.rejects(useless, { code: 'usage', message });
    }
    assert.ok(!existsSync(runs));
  });

  it('trains what arms share once, goes on after an interruption, and does nothing again', async () => {
    const runs = new Map<string, number>();
    let interrupt = new AbortController();
    const experiment: Omit<ExperimentOptions, 'signal'> = {
      folder: join(folder.path, 'experiment'),
      results: join(folder.path, 'arms'),
      corpus,
      shapes: { small: shape, double: { ...shape, layers: 4 } },
      seeds: [1],
      stages: {
        small: [
          { ...settings, steps: 2 },
          { ...settings, steps: 2, rate: 0.005 },
        ],
        double: [
          { ...settings, steps: 2, rate: 0.004 },
          { ...settings, steps: 2, rate: 0.002 },
        ],
      },
      memory: { layers: 'first-half' },
      device: { threads: 1 },
      onEvent: (run, event) => {
        if (event.kind !== 'step') return;
        runs.set(run, (runs.get(run) ?? 0) + 1);
        if (run === 'seed-1/small-plain-memory') interrupt.abort();
      },
    };
    assert.equal(await runExperiment({ ...experiment, signal: interrupt.signal }), null);
    assert.deepEqual(
      [...runs],
      [
        ['seed-1/small-plain', 2],
        ['seed-1/small-plain-memory', 1],
      ],
    );
    interrupt = new AbortController();
    const result = await runExperiment(experiment);
    assert.ok(result !== null);
    // Three runs of a first stage, four of a second.
    assert.equal(runs.size, 7);
    assert.ok([...runs.values()].every((steps) => steps === 2));
    assert.deepEqual(
      result.arms.map(({ arm }) => arm),
      Object.keys(arms),
    );
    const [twoStages, noMemories, , double] = result.arms;
    assert.deepEqual(twoStages?.steps[0], noMemories?.steps[0]);
    assert.notDeepEqual(twoStages?.steps[1], noMemories?.steps[1]);
    assert.deepEqual(
      noMemories?.validation.map(({ step }) => step),
      [0, 2, 4],
    );
    const rateOf = (result: typeof double) => result?.steps[1]?.[0]?.rate as number;
    assert.equal(rateOf(double) / rateOf(noMemories), 0.002 / 0.005, 'each size has its rates');
    const gained = (noMemories?.plain as number) - (twoStages?.memory as number);
    const doubled = (noMemories?.plain as number) - (double?.plain as number);
    // A model that is no better when doubled is no yardstick.
    assert.equal(result.summary.effectiveSize['two-stages'], doubled > 0 ? gained / doubled : null);
    assert.deepEqual(await runExperiment(experiment), result);
    assert.ok([...runs.values()].every((steps) => steps === 2));
    // Whoever has the results needs no runs.
    const elsewhere = { ...experiment, folder: join(folder.path, 'elsewhere') };
    assert.deepEqual(await runExperiment(elsewhere), result);
    assert.ok(!existsSync(elsewhere.folder));
    const otherwise = runExperiment({ ...experiment, memory: { layers: 'all' } });
    await assert.rejects(otherwise, { code: 'mismatch', message: /memory\.layers was "first-half", is "all"/ });
  });
});
