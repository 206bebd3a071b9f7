/**
 * The experiment of docs/training.md in one command: prepares the corpus, trains all arms and seeds, measures them and draws
 * the plots. Run again it goes on where it stopped; what is finished is not done again, and an arm whose results lie with
 * the plots needs no runs.
 *
 *   node scripts/two-stages.ts --data data --out runs/two-stages --plots docs/training
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { z } from 'zod';
import { createInterrupt } from '../src/cli/interrupt.ts';
import { addDeviceFlags, type DeviceFlags, deviceOptions, number } from '../src/cli/options.ts';
import { runProgram } from '../src/cli/run.ts';
import { openTerminal, type Terminal, table } from '../src/cli/terminal.ts';
import { showTraining, type TrainingProgress } from '../src/cli/training-progress.ts';
import { defaultEmbedder } from '../src/hub/catalogue.ts';
import { openEmbedder } from '../src/retrieval/embedder.ts';
import { Device } from '../src/runtime/device.ts';
import { readDocuments, type TextDocument } from '../src/train/data/readers.ts';
import type { RunEvent } from '../src/train/log.ts';
import type { ArmResult } from '../src/train/pretraining/arm-results.ts';
import { type ExperimentSummary, runExperiment, type Spread } from '../src/train/pretraining/experiment.ts';
import { openPrepared, prepareTraining } from '../src/train/pretraining/prepared.ts';
import { pretrainedProfile, stageRates } from '../src/train/pretraining/stage.ts';
import { scratchShapes } from '../src/train/scratch/new-model.ts';
import { stagesPlot, validationPlot } from './training-plots.ts';

/** Files of the data folder; of the contracts only some, or they would be most of it. */
const sets: readonly { readonly file: string; readonly documents?: number }[] = [
  { file: 'openstax_textbooks/biology.jsonl.gz' },
  { file: 'openstax_textbooks/anatomy.jsonl.gz' },
  { file: 'wiki_demo/all.jsonl.gz' },
  { file: 'squad/dev-v1.1.contexts.jsonl.gz' },
  { file: 'squad/dev-v2.0.contexts.jsonl.gz' },
  { file: 'wikitext2/valid.jsonl.gz' },
  { file: 'wikitext2/test.jsonl.gz' },
  { file: 'c4_demo/all.jsonl.gz' },
  { file: 'nltk_state_union/all.jsonl.gz' },
  { file: 'nltk_inaugural/all.jsonl.gz' },
  { file: 'nltk_genesis/all.jsonl.gz' },
  { file: 'cuad/contracts.contexts.jsonl.gz', documents: 160 },
];
const knowledgeShare = 0.4;
/** For a look at whether all of it works: so small a model, of each set four beginnings of documents. */
const tinyDocuments = { count: 4, characters: 3000 };
const tiny = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 1024 };

interface Flags extends DeviceFlags {
  readonly data: string;
  readonly out: string;
  readonly plots: string;
  readonly steps: number;
  readonly sequences: number;
  readonly seeds: number;
  readonly tiny?: boolean;
}

const interrupt = createInterrupt();
await runProgram(interrupt, async () => {
  const positive = z.int().positive();
  const command = new Command('two-stages')
    .requiredOption('--data <folder>', 'the data sets, gzip JSON Lines with a field "text"')
    .option('--out <folder>', 'corpus, runs and results', 'runs/two-stages')
    .option('--plots <folder>', 'where the plots and the results of each arm go', 'docs/training')
    .addOption(number('--steps <n>', 'of each stage', positive).default(768))
    .addOption(number('--sequences <n>', 'of 512 tokens, of a step', positive).default(4))
    .addOption(number('--seeds <n>', 'of each arm but the double one', positive).default(3))
    .option('--tiny', 'models of two narrow layers on a few texts, to see whether all of it works')
    .exitOverride();
  addDeviceFlags(command);
  const flags = command.parse(process.argv).opts<Flags>();
  const terminal = openTerminal({ json: false });
  const signal = interrupt.signal();
  const corpus = join(flags.out, 'corpus');
  await prepare(flags, corpus, terminal, signal);
  const { steps, sequences: stepSequences } = flags;
  const validation = flags.tiny === true ? { validationSequences: 4, validateEvery: Math.max(1, steps >> 1) } : {};
  const settings = { steps, stepSequences, passSequences: Math.min(2, stepSequences), ...validation };
  using progress = progressOfRuns(terminal, steps);
  const result = await runExperiment({
    folder: flags.out,
    results: join(flags.plots, 'arms'),
    corpus,
    shapes: flags.tiny === true ? { small: tiny, double: { ...tiny, layers: 4 } } : scratchShapes,
    seeds: Array.from({ length: flags.seeds }, (_, i) => i + 1) as [number, ...number[]],
    stages: [
      { ...settings, rate: stageRates.first },
      { ...settings, rate: stageRates.next },
    ],
    memory: pretrainedProfile,
    ...(flags.tiny === true ? { evaluationSequences: 8 } : {}),
    device: deviceOptions(flags),
    signal,
    onEvent: progress.onEvent,
  });
  if (result === null) return;
  progress[Symbol.dispose]();
  using prepared = openPrepared(corpus);
  mkdirSync(flags.plots, { recursive: true });
  const { arms } = result;
  writeFileSync(join(flags.plots, 'validation-loss.svg'), await validationPlot(arms));
  const first = arms.find(({ arm }) => arm === 'two-stages') as ArmResult;
  writeFileSync(join(flags.plots, 'stages.svg'), await stagesPlot(first));
  const { summary } = result;
  const report = { corpus: { ...prepared.summary, ...prepared.corpus.report }, settings, summary };
  writeFileSync(join(flags.plots, 'results.json'), `${JSON.stringify(report, null, 2)}\n`);
  terminal.result(null, () => describe(summary));
});

/** Prepares the corpus unless that is done. */
async function prepare(flags: Flags, corpus: string, terminal: Terminal, signal: AbortSignal): Promise<void> {
  if (existsSync(join(corpus, 'prepared.json'))) return;
  terminal.notice('The corpus is prepared: tokenizer, sequences, references.');
  await using device = new Device(deviceOptions(flags));
  await prepareTraining({
    folder: corpus,
    documents: () => readSets(flags),
    knowledgeShare,
    ...(flags.tiny === true ? { vocabularySize: 512, validation: 0.2 } : {}),
    openEmbedder: () => openEmbedder(defaultEmbedder, device, { signal }),
    onProgress: ({ phase, done, total }) => {
      if (done % 500 === 0) terminal.notice(`${phase} ${done}${total === null ? '' : ` of ${total}`}`);
    },
    signal,
  });
}

/** The sets' documents under names that do not tell where the data lies. */
async function* readSets({ data, tiny: few = false }: Flags): AsyncGenerator<TextDocument, void> {
  for (const { file, documents = Number.POSITIVE_INFINITY } of sets) {
    const most = few ? tinyDocuments.count : documents;
    let count = 0;
    for await (const { text, ...document } of readDocuments([join(data, file)])) {
      if (count++ === most) break;
      const part = few ? text.slice(0, tinyDocuments.characters).toWellFormed() : text;
      yield { ...document, id: `${file}#${count}`, text: part };
    }
  }
}

/** Shows one run after the other. */
function progressOfRuns(terminal: Terminal, steps: number) {
  let shown: { readonly run: string; readonly progress: Promise<TrainingProgress> } | undefined;
  const close = () => shown?.progress.then((progress) => progress[Symbol.dispose]());
  return {
    onEvent(run: string, event: RunEvent) {
      if (shown?.run !== run) {
        close();
        shown = { run, progress: showTraining(terminal, { label: run, steps }) };
      }
      shown.progress.then((progress) => progress.onEvent(event));
    },
    [Symbol.dispose]() {
      close();
      shown = undefined;
    },
  };
}

function describe({ losses, gains, effectiveSize }: ExperimentSummary): string {
  const words = ({ mean, deviation }: Spread) =>
    deviation === null ? mean.toFixed(4) : `${mean.toFixed(4)} ± ${deviation.toFixed(4)}`;
  const rows = Object.entries(losses).map(([arm, { plain, memory }]) => [
    arm,
    words(plain),
    words(memory),
    arm in gains ? words(gains[arm as keyof typeof gains]) : '',
    arm in effectiveSize ? effectiveSize[arm as keyof typeof effectiveSize].toFixed(2) : '',
  ]);
  return table(['arm', 'loss without memories', 'with memories', 'gain on no-memories', 'effective size'], rows);
}
