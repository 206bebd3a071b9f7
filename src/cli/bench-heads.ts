/** `memory3 bench heads`: which attention heads look far back. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import {
  defaultLocalTokens,
  everyLayerAndHead,
  type Restricted,
  type SurveyEvent,
  surveyHeads,
  surveySequences,
} from '../evaluate/head-survey.ts';
import { keptSurvey, reportOf } from '../evaluate/survey-log.ts';
import type { SurveyReport } from '../evaluate/survey-report.ts';
import { openModel } from '../generate/workspace.ts';
import { readDocuments } from '../train/data/readers.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addPlainModelFlags, modelOptions, number, type PlainModelFlags } from './options.ts';
import { showFetching } from './pull.ts';
import { formatDuration, type Terminal, table } from './terminal.ts';

interface HeadsFlags extends PlainModelFlags {
  readonly texts: readonly string[];
  readonly sequences: number;
  readonly length: number;
  readonly local: number;
  readonly only?: readonly Restricted[];
  readonly log?: string;
  readonly json?: boolean;
}

/** Heads of the report for people. */
const shownHeads = 20;

export function addHeads(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'heads', 'the loss on long texts when a head sees the last tokens only', [
    'bench heads --texts corpus/*.txt --log heads.jsonl',
    'bench heads --texts articles.jsonl.gz --sequences 2 --only 15:0,15 --json',
  ])
    .requiredOption('--texts <files...>', 'long texts: JSON Lines with a field "text", or plain text; folders, globs')
    .addOption(number('--sequences <n>', 'texts that are read, the first ones', z.int().min(1)).default(6))
    .addOption(number('--length <n>', 'tokens of each', z.int().min(4)).default(384))
    .addOption(
      number('--local <n>', 'tokens that a restricted head sees, beside bos', z.int().min(1)).default(
        defaultLocalTokens,
      ),
    )
    .addOption(
      new Option('--only <heads>', 'layer:head or layer, with commas (default: all heads and all layers)').argParser(
        restrictedOf,
      ),
    )
    .option('--log <file>', 'keeps what is measured; the same command goes on from there');
  addPlainModelFlags(command).action(async (flags: HeadsFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const { model, tokenizer, file } = opened;
    const { sequences, length } = flags;
    const texts = await surveySequences(readDocuments(flags.texts), tokenizer, { count: sequences, length });
    if (texts.short > 0) terminal.notice(`${texts.short} texts were passed over: they have less than ${length} tokens`);
    const options = { localTokens: flags.local, restricted: flags.only ?? everyLayerAndHead(model) };
    const surveying =
      flags.log === undefined
        ? surveyHeads(model, texts.sequences, options)
        : keptSurvey(flags.log, await file.fingerprint(), model, texts.sequences, options);
    const events = await follow(surveying, options.restricted.length, terminal, signal);
    const report = reportOf(events);
    terminal.result({ kind: 'report', ...report }, () => describeSurvey(report));
  });
}

/** All events; each is shown as it comes. */
async function follow(
  surveying: AsyncIterable<SurveyEvent>,
  total: number,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<SurveyEvent[]> {
  using progress = terminal.progress('heads and layers');
  const events: SurveyEvent[] = [];
  const began = performance.now();
  for await (const event of surveying) {
    signal.throwIfAborted();
    events.push(event);
    if (terminal.json) terminal.result(event, () => '');
    const done = events.length - 1;
    const left = done === 0 ? 0 : ((performance.now() - began) / 1000 / done) * Math.max(0, total - done);
    progress.update(done, Math.max(total, done), done === 0 ? '' : `${formatDuration(left)} left`);
  }
  return events;
}

/** "15:0,15": head 0 of layer 15, and the whole layer. */
function restrictedOf(text: string): Restricted[] {
  return text.split(',').map((part) => {
    const [, layer, head] = /^\s*(\d+)(?::(\d+))?\s*$/.exec(part) ?? [];
    if (layer === undefined) throw new InvalidArgumentError(`"${part}" is neither layer:head nor a layer.`);
    return { layer: Number(layer), head: head === undefined ? null : Number(head) };
  });
}

function describeSurvey({ nll, tokens, heads, layers, concentration }: SurveyReport): string {
  const rise = (value: number) => value.toFixed(4);
  const ofHeads = heads
    .slice(0, shownHeads)
    .map((one) => [`${one.layer}:${one.head}`, rise(one.rise), rise(one.error), one.nll.toFixed(4)]);
  const ofLayers = layers.map(({ layer, carried, whole }) => [
    String(layer),
    rise(carried),
    whole === null ? '' : rise(whole),
  ]);
  const carrying = concentration.map(
    ({ share, heads: count, part }) =>
      `${count} heads (${(100 * part).toFixed(0)} %) carry ${100 * share} % of the rise that is beyond noise.`,
  );
  const parts = [
    `${nll.toFixed(4)} nats a token, mean of ${tokens}`,
    ...(heads.length === 0 ? [] : [table(['head', 'rise', 'error', 'nll'], ofHeads), carrying.join('\n')]),
    table(['layer', 'carried by its heads', 'rise of the whole layer'], ofLayers),
  ];
  return parts.join('\n\n');
}
