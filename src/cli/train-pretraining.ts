/** `memory3 train prepare`, `warmup`, `continual` and `evaluate`: the paper's two stages on a model from scratch. */
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { defaultEmbedder } from '../hub/catalogue.ts';
import type { ProfileChoice } from '../memory/choose-profile.ts';
import { scorings } from '../memory/profile.ts';
import { openEmbedder } from '../retrieval/embedder.ts';
import { Device } from '../runtime/device.ts';
import { type ReaderOptions, readDocuments } from '../train/data/readers.ts';
import { evaluatePretraining } from '../train/pretraining/evaluate.ts';
import { prepareSettingsSchema, prepareTraining, readTokenizerFolder } from '../train/pretraining/prepared.ts';
import {
  pretrainedProfile,
  readStage,
  runStage,
  type StageOptions,
  stageRates,
  stageSettingsSchema,
} from '../train/pretraining/stage.ts';
import { scratchShapes } from '../train/scratch/new-model.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addDeviceFlags, type DeviceFlags, deviceOptions, kept, number, refuseIdle } from './options.ts';
import { showFetching } from './pull.ts';
import { formatCount, formatDuration, type Terminal } from './terminal.ts';
import { showTraining } from './training-progress.ts';

/** Adds the commands to `memory3 train`. */
export function addPretraining(train: Command, interrupt: Interrupt): void {
  addPrepare(train, interrupt);
  addWarmup(train, interrupt);
  addContinual(train, interrupt);
  addEvaluate(train, interrupt);
}

/** Where no knowledge is named, so many of the documents become it. */
const defaultKnowledgeShare = 0.4;

interface PrepareFlags extends DeviceFlags {
  readonly data: readonly string[];
  readonly knowledge?: readonly string[];
  readonly knowledgeShare?: number;
  readonly good?: readonly string[];
  readonly leastQuality: number;
  readonly out: string;
  readonly tokenizer?: string;
  readonly vocabulary: number;
  readonly length: number;
  readonly validation: number;
  readonly maxOverlap: number;
  readonly embedder: string;
  readonly offline?: boolean;
  readonly textField?: string;
  readonly titleField?: string;
  readonly idField?: string;
  readonly json?: boolean;
}

function addPrepare(train: Command, interrupt: Interrupt): void {
  const { shape } = prepareSettingsSchema;
  const defaults = prepareSettingsSchema.parse({});
  const command = newCommand(train, 'prepare', 'tokenizer, corpus, knowledge and references from texts', [
    'train prepare --data texts/ "more/*.jsonl.gz" --out corpus',
    'train prepare --data texts/ --knowledge encyclopaedia/ --out corpus',
    'train prepare --data crawl/ --good books/ --out corpus',
  ])
    .requiredOption(
      '--data <files...>',
      'files, folders or globs such as "texts/*.txt"; every file must be JSON Lines or plain text, also gzipped',
    )
    .option('--knowledge <files...>', 'texts that become references and are not trained on')
    .addOption(
      number(
        '--knowledge-share <share>',
        `share of the documents of --data that become references and are not trained on (default: ${defaultKnowledgeShare}, with --knowledge 0)`,
        shape.knowledgeShare,
      ),
    )
    .option(
      '--good <files...>',
      'good texts, in the languages of --data: documents that are too unlike them are left out',
    )
    .addOption(
      number(
        '--least-quality <p>',
        'how probably a document must be like those and not like their corruptions',
        shape.leastQuality,
      ).default(defaults.leastQuality),
    )
    .requiredOption('--out <folder>', 'where all of it goes; not read where it lies in --data')
    .option('--tokenizer <folder>', 'tokenizer.json and tokenizer_config.json (default: one is trained)')
    .addOption(number('--vocabulary <n>', 'tokens of that', shape.vocabularySize).default(defaults.vocabularySize))
    .addOption(number('--length <n>', 'tokens of a sequence', shape.sequenceLength).default(defaults.sequenceLength))
    .addOption(number('--validation <share>', 'share of the documents', shape.validation).default(defaults.validation))
    .addOption(
      number('--max-overlap <x>', 'references that overlap more with a sequence are refused', shape.maxOverlap).default(
        defaults.maxOverlap,
      ),
    )
    .option('--embedder <name>', 'finds the references', defaultEmbedder)
    .option('--offline', 'never use the network')
    .option('--text-field <name>', 'field of JSON Lines that holds the text')
    .option('--title-field <name>', 'field of JSON Lines that holds the title')
    .option('--id-field <name>', 'field of JSON Lines that names the document');
  addDeviceFlags(command).action(async (flags: PrepareFlags) => {
    if (flags.good === undefined) {
      refuseIdle(command, ['leastQuality'], 'there are no good texts to compare with', 'name some with --good');
    }
    if (flags.tokenizer !== undefined) {
      refuseIdle(command, ['vocabulary'], 'the tokenizer that is given has its own', 'leave out --tokenizer');
    }
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    using progress = phases(terminal);
    await using device = new Device(deviceOptions(flags));
    const { data, knowledge, good, tokenizer, textField, titleField, idField } = flags;
    const reading: ReaderOptions = {
      without: flags.out,
      ...(textField === undefined ? {} : { textField }),
      ...(titleField === undefined ? {} : { titleField }),
      ...(idField === undefined ? {} : { idField }),
    };
    const summary = await prepareTraining({
      folder: flags.out,
      documents: () => readDocuments(data, reading),
      ...(knowledge === undefined ? {} : { knowledge: () => readDocuments(knowledge, reading) }),
      ...(good === undefined ? {} : { good: () => readDocuments(good, reading) }),
      leastQuality: flags.leastQuality,
      ...(tokenizer === undefined ? {} : { tokenizer: readTokenizerFolder(tokenizer) }),
      knowledgeShare: flags.knowledgeShare ?? (knowledge === undefined ? defaultKnowledgeShare : 0),
      vocabularySize: flags.vocabulary,
      sequenceLength: flags.length,
      validation: flags.validation,
      maxOverlap: flags.maxOverlap,
      openEmbedder: () => openEmbedder(flags.embedder, device, fetching.options),
      onProgress: ({ phase, done, total }) => progress.update(phase, done, total),
      signal,
    });
    progress[Symbol.dispose]();
    terminal.result(summary, () => describePrepared(summary, good !== undefined));
  });
}

/** Work in phases, each with a bar of its own. */
function phases(terminal: Terminal) {
  let phase: string | undefined;
  let bar: ReturnType<Terminal['progress']> | undefined;
  return {
    update(name: string, done: number, total: number | null) {
      if (name !== phase) {
        bar?.[Symbol.dispose]();
        bar = terminal.progress(name);
        phase = name;
      }
      bar?.update(done, total);
    },
    [Symbol.dispose]: () => bar?.[Symbol.dispose](),
  };
}

function describePrepared(summary: Awaited<ReturnType<typeof prepareTraining>>, classified: boolean): string {
  const { report, knowledge, vocabularySize } = summary;
  const part = ({ documents, tokens, sequences }: typeof report.train) =>
    `${formatCount(documents)} documents, ${formatCount(tokens)} tokens, ${formatCount(sequences)} sequences`;
  const { rules, duplicates, lowQuality } = report.removed;
  const lines = [
    `train       ${part(report.train)}`,
    `validation  ${part(report.validation)}`,
    `left out    ${rules} documents by rules, ${duplicates} duplicates${classified ? `, ${lowQuality} of low quality` : ''}`,
    `tokenizer   ${formatCount(vocabularySize)} tokens`,
  ];
  if (report.validation.sequences === 0) lines.push('no validation sequence: models cannot be measured on this corpus');
  if (knowledge === null) return [...lines, 'no knowledge: memories cannot be trained with this corpus'].join('\n');
  const { found, none, refused } = knowledge.train;
  return [
    ...lines,
    `knowledge   ${formatCount(knowledge.documents)} documents, ${formatCount(knowledge.references)} references`,
    `found       for ${formatCount(found)} chunks, none for ${formatCount(none)}; ${formatCount(refused)} refused as leakage`,
  ].join('\n');
}

interface StageFlags extends DeviceFlags {
  readonly run: string;
  readonly corpus?: string;
  readonly steps: number;
  readonly rate: number;
  readonly sequences?: number;
  readonly pass?: number;
  readonly validateEvery: number;
  readonly validationSequences: number;
  readonly memory?: boolean;
  readonly layers?: string;
  readonly kept?: ProfileChoice['keptTokens'];
  readonly scoring?: ProfileChoice['scoring'];
  readonly json?: boolean;
}

const defaultSteps = 768;
const { shape: stageShape } = stageSettingsSchema;
const stageDefaults = stageSettingsSchema.parse({ steps: 1, rate: 1 });

function addStageFlags(command: Command, rate: number): Command {
  return addDeviceFlags(
    addMemoryFlags(
      command
        .addOption(number('--steps <n>', 'updates of the weights', stageShape.steps).default(defaultSteps))
        .addOption(number('--rate <x>', 'the largest learning rate', stageShape.rate).default(rate))
        .addOption(
          number(
            '--sequences <n>',
            'sequences of a step (default: 4, or as the stage before)',
            stageShape.stepSequences,
          ),
        )
        .addOption(
          number('--pass <n>', 'sequences that go through the model together (default: all of a step)', z.int().min(1)),
        )
        .addOption(
          number('--validate-every <n>', 'steps', stageShape.validateEvery).default(stageDefaults.validateEvery),
        )
        .addOption(
          number('--validation-sequences <n>', 'sequences of a validation', stageShape.validationSequences).default(
            stageDefaults.validationSequences,
          ),
        ),
    ),
  );
}

function addMemoryFlags(command: Command): Command {
  return command
    .option(
      '--layers <choice>',
      `memory layers: first-half, middle, last-half, all, last-N or numbers with commas (default: ${pretrainedProfile.layers})`,
    )
    .addOption(kept('--kept <n>', `tokens kept of each reference, or "all" (default: ${pretrainedProfile.keptTokens})`))
    .addOption(
      new Option('--scoring <rule>', `how they are chosen (default: ${pretrainedProfile.scoring})`).choices(
        scorings.filter((rule) => rule !== 'summary' && rule !== 'answer-weighted'),
      ),
    );
}

const memoryFlags = ['layers', 'kept', 'scoring'];

function memoryChoice({ layers, kept: keptTokens, scoring }: Pick<StageFlags, 'layers' | 'kept' | 'scoring'>) {
  const choice = { layers, keptTokens, scoring };
  return Object.fromEntries(Object.entries(choice).filter(([, value]) => value !== undefined)) as ProfileChoice;
}

interface WarmupFlags extends StageFlags {
  readonly corpus: string;
  readonly shape: keyof typeof scratchShapes;
  readonly seed: number;
}

function addWarmup(train: Command, interrupt: Interrupt): void {
  const command = newCommand(train, 'warmup', 'the first stage: a new model, without memories', [
    'train warmup --corpus corpus --run runs/warmup',
    'train warmup --corpus corpus --run runs/large --shape double --steps 2000',
  ])
    .requiredOption('--corpus <folder>', 'what `train prepare` made')
    .requiredOption('--run <folder>', 'the run; one that is there is gone on with')
    .addOption(new Option('--shape <name>', 'size of the model').choices(Object.keys(scratchShapes)).default('small'))
    .addOption(number('--seed <n>', 'of the weights', z.int().min(0).max(0xffff_ffff)).default(1))
    .option('--memory', 'memories from the first step, which the paper advises against');
  addStageFlags(command, stageRates.first).action(async (flags: WarmupFlags) => {
    if (flags.memory !== true) {
      refuseIdle(command, memoryFlags, 'a warmup is without memories', 'train them from the first step with --memory');
    }
    const model = { shape: scratchShapes[flags.shape], seed: flags.seed };
    const memory = flags.memory === true ? memoryChoice(flags) : null;
    const stepSequences = flags.sequences ?? stageDefaults.stepSequences;
    await stage('warmup', { corpus: flags.corpus, model, memory, stepSequences }, flags, interrupt);
  });
}

interface ContinualFlags extends StageFlags {
  readonly from: string;
}

function addContinual(train: Command, interrupt: Interrupt): void {
  const command = newCommand(train, 'continual', 'the second stage: with memories, behind a finished warmup', [
    'train continual --from runs/warmup --run runs/continual',
    'train continual --from runs/warmup --run runs/middle --layers middle --kept 16',
  ])
    .requiredOption('--from <folder>', 'the finished run to go on from')
    .requiredOption('--run <folder>', 'the run; one that is there is gone on with')
    .option('--corpus <folder>', 'where the corpus is now, if it has moved')
    .addOption(new Option('--no-memory', 'without memories, for comparison').conflicts(memoryFlags));
  addStageFlags(command, stageRates.next).action(async (flags: ContinualFlags) => {
    const { config } = readStage(flags.from);
    const common = {
      corpus: flags.corpus ?? config.corpus.path,
      model: { from: flags.from },
      memory: flags.memory === false ? null : memoryChoice(flags),
      stepSequences: flags.sequences ?? config.stepSequences,
    };
    await stage('continual', common, flags, interrupt);
  });
}

async function stage(
  label: string,
  common: Pick<StageOptions, 'corpus' | 'model' | 'memory'> & { readonly stepSequences: number },
  flags: StageFlags,
  interrupt: Interrupt,
): Promise<void> {
  const terminal = terminalOf(flags);
  using progress = await showTraining(terminal, { label, steps: flags.steps, run: flags.run });
  const result = await runStage({
    ...common,
    folder: flags.run,
    steps: flags.steps,
    rate: flags.rate,
    passSequences: flags.pass ?? common.stepSequences,
    validateEvery: flags.validateEvery,
    validationSequences: flags.validationSequences,
    device: deviceOptions(flags),
    signal: interrupt.signal(),
    onEvent: progress.onEvent,
  });
  progress[Symbol.dispose]();
  if (!result.finished) return;
  terminal.result({ kind: 'end', ...result }, () =>
    [
      `${result.model}: ${formatCount(result.step)} steps, ${formatCount(result.tokens)} tokens in ${formatDuration(result.seconds)}`,
      `the corpus was seen ${result.epochs.toFixed(2)} times`,
    ].join('\n'),
  );
}

interface EvaluateFlags extends DeviceFlags, Pick<StageFlags, 'layers' | 'kept' | 'scoring'> {
  readonly corpus: string;
  readonly limit?: number;
  readonly json?: boolean;
}

function addEvaluate(train: Command, interrupt: Interrupt): void {
  const command = newCommand(train, 'evaluate <model>', 'validation loss with memories and without', [
    'train evaluate runs/continual/model --corpus corpus',
  ])
    .requiredOption('--corpus <folder>', 'what `train prepare` made')
    .addOption(number('--limit <n>', 'sequences, taken evenly from all (default: all)', z.int().min(1)));
  addDeviceFlags(addMemoryFlags(command)).action(async (model: string, flags: EvaluateFlags) => {
    const evaluation = await evaluatePretraining({
      model,
      corpus: flags.corpus,
      memory: memoryChoice(flags),
      ...(flags.limit === undefined ? {} : { sequences: flags.limit }),
      device: deviceOptions(flags),
      signal: interrupt.signal(),
    });
    terminalOf(flags).result(evaluation, () => {
      const { plain, memory } = evaluation;
      const withMemories = memory === null ? 'the corpus has no knowledge' : `${memory.loss.toFixed(4)} with memories`;
      return `${plain.loss.toFixed(4)} nats per token without memories, ${withMemories}`;
    });
  });
}
