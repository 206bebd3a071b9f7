/**
 * The experiment of docs/training.md in one command: prepares the corpus, trains all arms and seeds, measures them and draws
 * the plots. Run again it goes on where it stopped; what is finished is not done again, and an arm whose results lie with
 * the plots needs no runs.
 *
 *   node scripts/two-stages.ts --data data --out runs/two-stages --plots docs/training
 */
import { mkdirSync, writeFileSync } from 'node:fs';
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
import { claimCorpus } from '../src/train/pretraining/made-of.ts';
import { isPrepared, openPrepared, prepareTraining } from '../src/train/pretraining/prepared.ts';
import { pretrainedProfile, stageRates } from '../src/train/pretraining/stage.ts';
import { scratchShapes } from '../src/train/scratch/new-model.ts';
import { stagesPlot, validationPlot } from './training-plots.ts';

/** Files of the data folder, and how many documents of each; of the contracts not all, or they would be most of it. */
const sets: Readonly<Record<string, number | null>> = {
  'openstax_textbooks/biology.jsonl.gz': null,
  'openstax_textbooks/anatomy.jsonl.gz': null,
  'wiki_demo/all.jsonl.gz': null,
  'squad/dev-v1.1.contexts.jsonl.gz': null,
  'squad/dev-v2.0.contexts.jsonl.gz': null,
  'wikitext2/valid.jsonl.gz': null,
  'wikitext2/test.jsonl.gz': null,
  'c4_demo/all.jsonl.gz': null,
  'nltk_state_union/all.jsonl.gz': null,
  'nltk_inaugural/all.jsonl.gz': null,
  'nltk_genesis/all.jsonl.gz': null,
  'cuad/contracts.contexts.jsonl.gz': 160,
};
const knowledgeShare = 0.4;
/** For a look at whether all of it works: of each set four beginnings of documents, and a small model. */
const tinyCorpus = { documents: 4, characters: 3000, vocabularySize: 512, validation: 0.2 };
const tinyShape = { layers: 2, hiddenSize: 32, heads: 4, kvHeads: 2, headDim: 8, mlpSize: 48, contextLength: 1024 };

interface Flags extends DeviceFlags {
  readonly data: string;
  readonly out?: string;
  readonly plots?: string;
  readonly steps: number;
  readonly sequences: number;
  readonly seeds: number;
  readonly doubleRates: number;
  readonly tiny?: boolean;
}

const interrupt = createInterrupt();
await runProgram(interrupt, async () => {
  const positive = z.int().positive();
  const command = new Command('two-stages')
    .requiredOption('--data <folder>', 'the data sets, gzip JSON Lines with a field "text"')
    .option('--out <folder>', 'corpus and runs (default: runs/two-stages; with --tiny runs/two-stages-tiny)')
    .option(
      '--plots <folder>',
      'where the plots and the results of each arm go (default: docs/training; with --tiny plots in --out)',
    )
    .addOption(number('--steps <n>', 'of each stage', positive).default(768))
    .addOption(number('--sequences <n>', 'of 512 tokens, of a step', positive).default(4))
    .addOption(number('--seeds <n>', 'of each arm but the double one', positive).default(3))
    .addOption(
      number(
        '--double-rates <x>',
        "the double model's learning rates, as a multiple of the others'",
        z.number().positive(),
      ).default(1),
    )
    .option('--tiny', 'models of two narrow layers on a few texts, to see whether all of it works')
    .exitOverride();
  addDeviceFlags(command);
  const flags = command.parse(process.argv).opts<Flags>();
  const terminal = openTerminal({ json: false });
  const signal = interrupt.signal();
  const isTiny = flags.tiny === true;
  const out = flags.out ?? (isTiny ? 'runs/two-stages-tiny' : 'runs/two-stages');
  const plots = flags.plots ?? (isTiny ? join(out, 'plots') : 'docs/training');
  const corpus = join(out, 'corpus');
  await prepare(flags, corpus, terminal, signal);
  const { steps, sequences: stepSequences } = flags;
  const validation = isTiny ? { validationSequences: 4, validateEvery: Math.max(1, steps >> 1) } : {};
  const settings = { steps, stepSequences, passSequences: Math.min(2, stepSequences), ...validation };
  const stagesAt = (factor: number) =>
    [
      { ...settings, rate: stageRates.first * factor },
      { ...settings, rate: stageRates.next * factor },
    ] as const;
  using progress = progressOfRuns(terminal, out, steps);
  const result = await runExperiment({
    folder: out,
    results: join(plots, 'arms'),
    corpus,
    shapes: isTiny ? { small: tinyShape, double: { ...tinyShape, layers: 4 } } : scratchShapes,
    seeds: Array.from({ length: flags.seeds }, (_, i) => i + 1) as [number, ...number[]],
    stages: { small: stagesAt(1), double: stagesAt(flags.doubleRates) },
    memory: pretrainedProfile,
    ...(isTiny ? { evaluationSequences: 8 } : {}),
    device: deviceOptions(flags),
    signal,
    onEvent: progress.onEvent,
  });
  if (result === null) return;
  progress[Symbol.dispose]();
  using prepared = openPrepared(corpus);
  mkdirSync(plots, { recursive: true });
  const { arms } = result;
  writeFileSync(join(plots, 'validation-loss.svg'), await validationPlot(arms));
  const first = arms.find(({ arm }) => arm === 'two-stages') as ArmResult;
  writeFileSync(join(plots, 'stages.svg'), await stagesPlot(first));
  const { summary } = result;
  const report = { corpus: { ...prepared.summary, ...prepared.corpus.report }, settings, summary };
  writeFileSync(join(plots, 'results.json'), `${JSON.stringify(report, null, 2)}\n`);
  terminal.result(null, () => describe(summary));
});

/** Prepares the corpus unless that is done. @throws Memory3Error "mismatch" if the folder has another one */
async function prepare(flags: Flags, corpus: string, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const tiny = flags.tiny === true ? tinyCorpus : null;
  claimCorpus(corpus, { sets, knowledgeShare, tiny });
  if (isPrepared(corpus)) return;
  terminal.notice('The corpus is prepared: tokenizer, sequences, references.');
  await using device = new Device(deviceOptions(flags));
  await prepareTraining({
    folder: corpus,
    documents: () => readSets(flags.data, tiny),
    knowledgeShare,
    ...(tiny === null ? {} : { vocabularySize: tiny.vocabularySize, validation: tiny.validation }),
    openEmbedder: () => openEmbedder(defaultEmbedder, device, { signal }),
    onProgress: ({ phase, done, total }) => {
      if (done % 500 === 0) terminal.notice(`${phase} ${done}${total === null ? '' : ` of ${total}`}`);
    },
    signal,
  });
}

/** The sets' documents under names that do not tell where the data lies. */
async function* readSets(data: string, tiny: typeof tinyCorpus | null): AsyncGenerator<TextDocument, void> {
  for (const [file, documents] of Object.entries(sets)) {
    const most = tiny?.documents ?? documents;
    let count = 0;
    for await (const { text, ...document } of readDocuments([join(data, file)])) {
      if (count++ === most) break;
      const part = tiny === null ? text : text.slice(0, tiny.characters).toWellFormed();
      yield { ...document, id: `${file}#${count}`, text: part };
    }
  }
}

/** Shows one run after the other. */
function progressOfRuns(terminal: Terminal, folder: string, steps: number) {
  let shown: { readonly run: string; readonly progress: Promise<TrainingProgress> } | undefined;
  const close = () => shown?.progress.then((progress) => progress[Symbol.dispose]());
  return {
    onEvent(run: string, event: RunEvent) {
      if (shown?.run !== run) {
        close();
        shown = { run, progress: showTraining(terminal, { label: run, steps, run: join(folder, run) }) };
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
    arm in effectiveSize
      ? (effectiveSize[arm as keyof typeof effectiveSize]?.toFixed(2) ?? 'none: doubling gained nothing')
      : '',
  ]);
  return table(['arm', 'loss without memories', 'with memories', 'gain on no-memories', 'effective size'], rows);
}
