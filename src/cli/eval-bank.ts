/** `memory3 eval bank`: builds a bank from public data sets, for `memory3 eval`. */
import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Argument, type Command } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { type BuildEvent, buildBank, type FinishedBank, finishedBank } from '../evaluate/banks/build.ts';
import type { BuildEstimate } from '../evaluate/banks/estimate.ts';
import { type PlanOptions, planBank, type SourceCounts } from '../evaluate/banks/plan.ts';
import { type BankKind, bankKinds, bankSources } from '../evaluate/banks/sources.ts';
import { openWorkspace } from '../generate/workspace.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { singleLimits } from './eval-options.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, checked, givenFlag, type ModelFlags, workspaceOptions } from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, formatCount, formatDuration, type Progress, type Terminal, table } from './terminal.ts';

interface EvalBankFlags extends ModelFlags {
  readonly data?: string;
  readonly bank?: string;
  readonly sources?: string;
  readonly limit?: Pick<PlanOptions, 'limit' | 'limits'>;
  readonly cold?: boolean;
  readonly json?: boolean;
}

/** "100", "cuad=20" or "100,cuad=20" */
const limitSchema = z
  .string()
  .regex(/^([1-9]\d*|\w+=[1-9]\d*)(,\w+=[1-9]\d*)*$/, 'A number is expected, source=number, or both, with commas.')
  .transform((value, context): Pick<PlanOptions, 'limit' | 'limits'> => {
    const parts = value.split(',');
    const all = parts.find((one) => !one.includes('='));
    const limits = singleLimits(
      parts.filter((one) => one !== all),
      context,
    );
    return { ...(all !== undefined && { limit: Number(all) }), limits };
  });

export function addEvalBank(evaluation: Command, interrupt: Interrupt): void {
  const names = bankKinds.map((kind) => `${kind}: ${bankSources[kind].map(({ name }) => name).join(', ')}`);
  const command = newCommand(evaluation, 'bank', 'build a bank from public data sets; the same command goes on', [
    'eval bank general --data data --bank general --limit cuad=20',
    'eval bank professional --data data --bank professional',
    'eval bank general --data data --bank passages --sources squad,xquad,nq_openbook_short --json',
  ])
    .addArgument(new Argument('<kind>', 'which bank').choices(bankKinds))
    .option('--data <folder>', "folder of the data sets' folders")
    .option('--bank <name>', 'a name or a path of the memory bank')
    .option('--sources <names>', `only these, with commas between them (${names.join('; ')})`)
    .addOption(checked('--limit <n>', 'documents of each source, of single ones cuad=20, or both', limitSchema))
    .option('--cold', 'write no memories now: each is written when it is first recalled');
  addModelFlags(command).action(async (kind: BankKind, flags: EvalBankFlags) => {
    const terminal = terminalOf(flags);
    const [data, bank] = [given(flags.data, '--data <folder>'), given(flags.bank, '--bank <name>')];
    const sources = flags.sources?.split(',').map((name) => name.trim());
    const plan = planBank(kind, data, { ...(sources && { sources }), ...flags.limit });
    const memories = flags.cold !== true;
    const path = bankPath(bank);
    const finished = await finishedBank(path, plan, { memories });
    const printFinished = (all: FinishedBank) => {
      terminal.notice(`The bank ${bank} is finished: there is nothing to do.`);
      printBank(terminal, all, bank, statSync(path).size);
    };
    // Another model or profile that is asked for is refused by opening the bank with it.
    const asked = givenFlag(command, [
      'data',
      'bank',
      'sources',
      'limit',
      'cold',
      'json',
      'offline',
      'device',
      'threads',
    ]);
    if (finished !== null && asked === undefined) return printFinished(finished);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using workspace = await openWorkspace({
      ...workspaceOptions({ ...flags, bank }),
      bankMode: 'write',
      fetch: fetching.options,
      onNotice: (message) => terminal.notice(message),
    });
    if (finished !== null) return printFinished(finished);
    const events = buildBank(workspace, plan, { memories, signal });
    printBank(terminal, await report(events, dirname(path), terminal), bank, workspace.bank.stats().fileBytes);
  });
}

function given(value: string | undefined, flag: string): string {
  if (value !== undefined) return value;
  throw new Memory3Error('usage', `The flag ${flag} is missing.`);
}

/** Shows how far a build is: of each source its documents, then its memories. */
async function report(events: AsyncIterable<BuildEvent>, folder: string, terminal: Terminal): Promise<FinishedBank> {
  const planned = new Map<string, number>();
  let shown: { label: string; bar: Progress; done: number } | undefined;
  using _ = { [Symbol.dispose]: () => shown?.bar[Symbol.dispose]() };
  const barOf = (label: string) => {
    if (shown?.label === label) return shown;
    shown?.bar[Symbol.dispose]();
    shown = { label, bar: terminal.progress(label), done: 0 };
    return shown;
  };
  for await (const one of events) {
    if (one.kind === 'end') return one.finished;
    if (one.kind === 'estimate') {
      for (const source of one.sources) planned.set(source.source, source.planned);
      if (terminal.json) terminal.result(one, () => '');
      else terminal.notice(describeEstimate(one));
      const free = freeBytes(folder);
      if (one.bytes > free) terminal.notice(`Only ${formatBytes(free)} are free in ${folder}.`);
    } else if (one.kind === 'progress') {
      const { source, event } = one;
      if (event.kind === 'skipped') terminal.notice(`${event.name} was skipped: ${event.reason}`);
      else if (event.kind === 'document') {
        const shownNow = barOf(`${source} documents`);
        shownNow.bar.update(++shownNow.done, planned.get(source) ?? null);
      } else {
        const detail = `${event.tokensPerSecond.toFixed(0)} tokens/s, ${formatDuration(event.secondsLeft)} left`;
        barOf(`${source} memories`).bar.update(event.done, event.total, detail);
      }
    }
  }
  throw new Error('A build ends with what it has built.');
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

function describeEstimate({ references, cold, bytes, seconds }: BuildEstimate): string {
  const what = [
    `${formatCount(references)} references to store`,
    ...(cold === 0 ? [] : [`${formatCount(cold)} more to write`]),
    formatBytes(bytes),
    formatDuration(seconds),
  ];
  return `Estimated from a few of them, written here: ${what.join(', ')}.`;
}

/** A row or a line for each source, and one for the bank. */
function printBank(terminal: Terminal, { sources, ...total }: FinishedBank, bank: string, fileBytes: number): void {
  const rows = sources.map((one) => [
    one.source,
    one.documents,
    one.shared,
    one.references,
    one.tokens,
    formatBytes(one.bytes),
    formatDuration(one.seconds),
    remarks(one),
    one.licence,
  ]);
  terminal.results(
    [...sources.map((one) => ({ kind: 'source', ...one })), { kind: 'end', bank, ...total, fileBytes }],
    () =>
      [
        table(
          ['source', 'documents', 'shared', 'references', 'tokens', 'memories', 'took', 'remarks', 'licence'],
          rows,
        ),
        `${bank}: ${formatCount(total.documents)} documents, ${formatCount(total.references)} references, ${formatBytes(fileBytes)}`,
      ].join('\n'),
  );
}

function remarks({ limit, available, skipped }: SourceCounts): string {
  const said = [
    ...(limit === null || limit >= available ? [] : [`${limit} of ${available}`]),
    ...(skipped === 0 ? [] : [`${skipped} without text`]),
  ];
  return said.join(', ') || '-';
}
