/** `memory3 eval adapt`: a model adapted to a domain by adding its texts, by fine-tuning on them, and by RAG. */
import { join } from 'node:path';
import type { Command } from 'commander';
import {
  type AdaptEvent,
  type AdaptSettings,
  adapt,
  adaptSettingsSchema,
  type DomainReport,
} from '../evaluate/adapt/adapt.ts';
import { domains } from '../evaluate/adapt/domains.ts';
import type { ArmSummary } from '../evaluate/adapt/summary.ts';
import { tuningSettingsSchema } from '../evaluate/adapt/tune.ts';
import { armTitles, describeDifference, formatSeconds, metricTitles, seenNote } from '../evaluate/adapt/words.ts';
import { newCommand, terminalOf } from './command.ts';
import { memoriesOption } from './eval-options.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, type ModelFlags, modelOptions, number, refuseIdle } from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, formatCount, type Progress, type Terminal, table } from './terminal.ts';

interface AdaptFlags extends ModelFlags {
  readonly data: string;
  readonly domain: [string, ...string[]];
  readonly run: string;
  readonly limit: number;
  readonly texts: number;
  readonly memories: number;
  readonly steps?: number;
  readonly passes: number;
  readonly rate: number;
  readonly seed: number;
  readonly json?: boolean;
}

export function addEvalAdapt(evaluation: Command, interrupt: Interrupt): void {
  const names = domains.map(({ name }) => name);
  const { shape } = adaptSettingsSchema;
  const defaults = adaptSettingsSchema.parse({ domains: names });
  const { shape: training } = tuningSettingsSchema;
  const command = newCommand(evaluation, 'adapt', 'a domain by adding its texts, by fine-tuning on them, by RAG', [
    'eval adapt --data data --domain policies --run runs/policies',
    'eval adapt --data data --domain policies contracts textbook --run runs/domains --limit 200 --json',
    'eval adapt --data data --domain textbook --run runs/try --limit 5 --texts 2 --steps 4',
  ])
    .requiredOption('--data <folder>', "folder of the data sets' folders")
    .requiredOption('--domain <names...>', names.join(', '))
    .requiredOption('--run <folder>', 'keeps what is measured: the same command goes on after an interruption')
    .addOption(number('--limit <n>', 'questions of each domain', shape.limit).default(defaults.limit))
    .addOption(number('--texts <n>', 'documents of each domain', shape.texts).default(defaults.texts))
    .addOption(memoriesOption())
    .addOption(number('--steps <n>', 'updates of the fine-tuning, instead of passes', training.steps))
    .addOption(
      number('--passes <n>', 'times that the fine-tuning sees the texts', training.passes).default(
        defaults.training.passes,
      ),
    )
    .addOption(number('--rate <x>', 'its largest learning rate', training.rate).default(defaults.training.rate))
    .addOption(number('--seed <n>', 'draws documents and questions', shape.seed).default(defaults.seed));
  addModelFlags(command).action(async (flags: AdaptFlags) => {
    if (flags.steps !== undefined) {
      refuseIdle(command, ['passes'], 'with --steps they are not counted', 'leave out --steps');
    }
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    using showing = new Showing(terminal);
    const { embedder } = flags;
    const reports = await adapt({
      ...modelOptions(flags),
      ...(embedder === undefined ? {} : { embedder }),
      fetch: fetching.options,
      folder: flags.run,
      data: flags.data,
      settings: settingsOf(flags),
      signal,
      onEvent: (event) => showing.on(event),
    });
    showing[Symbol.dispose]();
    terminal.results(reports, () => reports.map(describeReport).join('\n\n'));
    terminal.notice(`The report for people: ${join(flags.run, 'report.html')}`);
  });
}

function settingsOf({ domain, limit, texts, memories, steps, passes, rate, seed }: AdaptFlags): AdaptSettings {
  return { domains: domain, limit, texts, memories, seed, training: { steps: steps ?? null, passes, rate } };
}

/** A bar for each thing that goes on, one after the other. */
class Showing implements Disposable {
  readonly #terminal: Terminal;
  #label = '';
  #progress: Progress | null = null;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  on(event: AdaptEvent): void {
    if (event.kind !== 'training') {
      this.#at(`${event.domain}: ${labels[event.kind]}`).update(event.done, event.total);
    } else if (event.event.kind === 'step') {
      const { step, loss } = event.event;
      this.#at(`${event.domain}: training`).update(step, event.steps, `loss ${loss.toFixed(3)}`);
    }
  }

  #at(label: string): Progress {
    if (this.#progress !== null && label === this.#label) return this.#progress;
    this[Symbol.dispose]();
    this.#label = label;
    this.#progress = this.#terminal.progress(label);
    return this.#progress;
  }

  [Symbol.dispose](): void {
    this.#progress?.[Symbol.dispose]();
    this.#progress = null;
  }
}

const labels = { index: 'vectors', write: 'memories', answer: 'questions' } as const;

function describeReport(report: DomainReport): string {
  const { domain, description, documents, references, tokens, questions, tuning, arms, times } = report;
  const { before, best } = tuning.validation;
  const qualities = (arms[0]?.qualities ?? []).flatMap(({ metric }) =>
    arms.flatMap(({ arm, qualities: own }) =>
      own
        .filter((quality) => quality.metric === metric)
        .map(({ value, low, high, items, differences }) => [
          metricTitles[metric],
          armTitles[arm],
          value.toFixed(3),
          `${low.toFixed(3)} to ${high.toFixed(3)}`,
          String(items),
          differences.map((difference) => describeDifference(metric, difference)).join('; '),
        ]),
    ),
  );
  const costs = times.map(({ arm, adapt: seconds, parts, answer }, index) => [
    armTitles[arm],
    formatSeconds(seconds),
    Object.entries(parts)
      .map(([part, one]) => `${part} ${formatSeconds(one)}`)
      .join(' + '),
    formatSeconds(answer?.median ?? null),
    formatSeconds(answer?.ninetieth ?? null),
    formatBytes(arms[index]?.bytes ?? 0),
    (arms[index]?.promptTokens ?? 0).toFixed(0),
    remarks(arms[index]).join(', '),
  ]);
  return [
    `${domain}: ${description}; ${formatCount(documents)} documents, ${formatCount(references)} references, ${formatCount(tokens)} tokens, ${formatCount(questions)} questions`,
    `${seenNote(report)} Fine-tuning: ${formatCount(tuning.steps)} steps, held-out texts from ${before.toFixed(3)} to ${best.toFixed(3)} nats a token at step ${tuning.bestStep}.`,
    table(['quality', 'arm', 'value', '95 %', 'questions', 'differences'], qualities),
    table(['arm', 'to adapt', 'of which', 'answer', '90 %', 'kept', 'prompt tokens', 'remarks'], costs),
  ].join('\n');
}

function remarks(arm: ArmSummary | undefined): string[] {
  if (arm === undefined) return [];
  const { held, tooLong } = arm;
  return [
    ...(held === null ? [] : [`answer in a reference: ${held}`]),
    ...(tooLong === 0 ? [] : [`too long: ${tooLong}`]),
  ];
}
