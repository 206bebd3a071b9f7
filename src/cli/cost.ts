/** `memory3 cost`: what a piece of knowledge costs in parameters, as memory and as text, for any model. */
import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import {
  type CheapestRange,
  type CostShape,
  cheapestFormats,
  type KnowledgeCosts,
  type KnowledgeFormat,
  knowledgeCosts,
  knowledgeFormats,
  type MemoryShape,
  memoryShape,
  paperModel,
  paperTrainingTokens,
} from '../evaluate/cost.ts';
import { type MeasuredCosts, measureCosts } from '../evaluate/cost-measured.ts';
import { costPlot, formatUses } from '../evaluate/cost-plot.ts';
import { openModelAndAdapter } from '../generate/adapted-model.ts';
import { openModel } from '../generate/workspace.ts';
import { defaultLanguageModel } from '../hub/catalogue.ts';
import { fetchModel } from '../hub/fetch.ts';
import { chooseProfile } from '../memory/choose-profile.ts';
import { chunkTokens, type MemoryProfile, referenceTokens } from '../memory/profile.ts';
import type { ModelConfig } from '../model/config.ts';
import { tokenizerOf } from '../model/open-tokenizer.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addPlainModelFlags,
  addProfileFlags,
  modelOptions,
  number,
  type PlainModelFlags,
  type ProfileFlags,
  refuseIdle,
} from './options.ts';
import { showFetching } from './pull.ts';
import { table } from './terminal.ts';

interface CostFlags extends PlainModelFlags, ProfileFlags {
  readonly paper?: boolean;
  readonly measured?: boolean;
  readonly rounds: number;
  readonly trainingLength: number;
  readonly plot?: string;
  readonly json?: boolean;
}

/** Whose costs are counted. */
interface CostSubject {
  readonly name: string;
  readonly shape: CostShape;
  readonly memory: MemoryShape;
  readonly measured: MeasuredCosts | null;
}

/** What the paper's model has of its own, or does not run with. */
const notOfPaper = ['model', 'adapter', 'layers', 'kept', 'scoring', 'storage', 'measured', 'rounds'];
/** Flags of the engine. */
const ofRunning = ['rounds', 'device', 'threads'];

export function addCost(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'cost', 'what knowledge costs: in parameters, as memory, as text', [
    'cost --paper --json',
    'cost --model path/to/model.gguf --kept 8 --plot cost.svg',
    'cost --measured --threads 2',
  ])
    .addOption(new Option('--paper', "the paper's 2.4B model").conflicts(notOfPaper))
    .option('--measured', "this machine's seconds too; runs the model")
    .addOption(number('--rounds <n>', 'measurements that are counted', z.int().min(1).max(1000)).default(9))
    .addOption(
      number('--training-length <n>', 'tokens of a training sequence', z.int().min(1)).default(paperTrainingTokens),
    )
    .option('--plot <file>', 'write cost over the number of uses as SVG (the paper’s Fig. 4)');
  addProfileFlags(addPlainModelFlags(command)).action(async (flags: CostFlags) => {
    const terminal = terminalOf(flags);
    if (!flags.measured) refuseIdle(command, ofRunning, 'no model is run', 'measure one (--measured)');
    const subject = flags.paper
      ? { name: 'Memory³ 2.4B', ...paperModel, measured: null }
      : await readSubject(flags, interrupt);
    const { name, shape, memory, measured } = subject;
    const flops = knowledgeCosts(shape, memory, flags.trainingLength);
    if (flags.plot !== undefined) {
      writePlot(flags.plot, await costPlot(name, flops));
      terminal.notice(`Written: ${flags.plot}`);
    }
    const tokens = { reference: referenceTokens, chunk: chunkTokens, training: flags.trainingLength };
    const cheapest = cheapestFormats(flops);
    terminal.result(
      { model: name, shape, memory, tokens, flops, cheapest, ...(measured !== null && { seconds: measured }) },
      () => describe(subject, flops, cheapest),
    );
  });

  /** The model's configuration and profile; the model itself is opened to be measured only. */
  async function readSubject(flags: CostFlags, interrupt: Interrupt): Promise<CostSubject> {
    const signal = interrupt.signal();
    using fetching = showFetching(terminalOf(flags), signal, flags.offline);
    const options = { ...modelOptions(flags), fetch: fetching.options };
    if (flags.measured) {
      await using opened = await openModel(options);
      const { file, profile } = opened;
      return { ...subjectOf(file, profile), measured: await measureCosts(opened, flags.rounds, signal) };
    }
    const path = await fetchModel(flags.model ?? defaultLanguageModel, fetching.options);
    using opened = await openModelAndAdapter(path, options);
    const { base, adapter } = opened;
    const tokenizer = tokenizerOf(base);
    const profile = chooseProfile(base.config, tokenizer, options.profile, adapter?.card.profile);
    return { ...subjectOf(base, profile), measured: null };
  }
}

function subjectOf({ name, config }: { name: string; config: ModelConfig }, profile: MemoryProfile) {
  const { layers, hiddenSize, heads, kvHeads, headDim, mlpSize, vocabularySize } = config;
  const shape = { layers, hiddenSize, heads, kvHeads, headDim, mlpSize, vocabularySize };
  return { name, shape, memory: memoryShape(profile) };
}

function writePlot(path: string, svg: string): void {
  try {
    writeFileSync(path, svg);
  } catch (cause) {
    throw new Memory3Error('disk', `The plot cannot be written to ${path}.`, {
      remedy: 'Name a file in a folder that exists and may be written to.',
      cause,
    });
  }
}

function describe({ name, memory, measured }: CostSubject, flops: KnowledgeCosts, cheapest: CheapestRange[]): string {
  const head = ['one reference', 'write', 'read', 'the cheapest for n uses'];
  const rows = knowledgeFormats.map((format) => [
    formatTitles[format],
    formatFlops(flops[format].write),
    formatFlops(flops[format].read),
    formatRange(cheapest, format),
  ]);
  const measuredRows = [
    [formatTitles.implicit, 'not measured', '', ''],
    ...(['explicit', 'external'] as const).map((format) => [
      formatTitles[format],
      formatSeconds(measured?.[format].write ?? 0),
      formatSeconds(measured?.[format].read ?? 0),
      formatRange(measured?.cheapest ?? [], format),
    ]),
  ];
  const title = `${name}: ${memory.layers.length} memory layers, ${memory.keptTokens} of ${referenceTokens} tokens kept`;
  return [
    title,
    table(head, rows),
    ...(measured === null ? [] : [table(['measured here', ...head.slice(1)], measuredRows)]),
  ].join('\n\n');
}

const formatTitles: Readonly<Record<KnowledgeFormat, string>> = {
  implicit: 'parameters',
  explicit: 'memory',
  external: 'text',
};

function formatRange(ranges: readonly CheapestRange[], format: KnowledgeFormat): string {
  const range = ranges.find((one) => one.format === format);
  if (range === undefined) return 'never';
  const from = range.from > 0 ? `${formatUses(range.from)} < ` : '';
  return `${from}n${range.to === null ? '' : ` < ${formatUses(range.to)}`}`;
}

function formatFlops(flops: number): string {
  if (flops === 0) return '0';
  const unit = ['MFLOPs', 'GFLOPs', 'TFLOPs', 'PFLOPs'];
  const power = Math.max(0, Math.min(unit.length - 1, Math.floor(Math.log10(flops) / 3) - 2));
  return `${Number((flops / 10 ** (3 * power + 6)).toPrecision(3))} ${unit[power]}`;
}

function formatSeconds(seconds: number): string {
  return seconds === 0 ? '0' : `${Number((seconds * 1000).toPrecision(3))} ms`;
}
