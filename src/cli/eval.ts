/** `memory3 eval`: what memory is worth to a model on public tasks, against no references and references as text. */
import type { Command } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { type Evaluated, evaluate, evaluationOptionsSchema } from '../evaluate/eval/evaluate.ts';
import { type Mode, mostRecalled, mostReferences, parseModes } from '../evaluate/eval/modes.ts';
import { defaultOverlap } from '../evaluate/eval/references.ts';
import { type Cell, type Difference, isBetter } from '../evaluate/eval/summary.ts';
import { tasks } from '../evaluate/tasks/all.ts';
import { recalledMemories } from '../generate/recall.ts';
import { openModel, openWorkspace } from '../generate/workspace.ts';
import { type AddCommand, newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addBankFlag,
  addModelFlags,
  type BankFlags,
  checked,
  type ModelFlags,
  modelOptions,
  number,
  workspaceOptions,
} from './options.ts';
import { showFetching } from './pull.ts';
import { type Terminal, table } from './terminal.ts';

interface EvalFlags extends ModelFlags, BankFlags {
  readonly run?: string;
  readonly data?: string;
  readonly tasks: string;
  readonly modes: string;
  readonly limit: Limits;
  readonly shots: number;
  readonly memories: number;
  readonly overlap: number | null;
  readonly documentStart: boolean;
  readonly seed: number;
  readonly json?: boolean;
}

const names = tasks.map(({ name }) => name);

/** Items of each task, and of single ones. */
type Limits = Pick<z.output<typeof evaluationOptionsSchema>, 'limit' | 'limits'>;

/** "50,arc_easy=200" */
const limitsSchema = z
  .string()
  .regex(/^[1-9]\d*(,\w+=[1-9]\d*)*$/, 'A number is expected, and perhaps task=number, with commas.')
  .transform((value): Limits => {
    const [limit = '', ...single] = value.split(',');
    const limits = single
      .map((one) => one.split('=') as [string, string])
      .map(([name, n]) => [name, Number(n)] as const);
    return { limit: Number(limit), limits: Object.fromEntries(limits) };
  });

/** `memory3 eval <name>`: each has flags of its own, behind its name. */
const subcommands: readonly AddCommand[] = [];

export function addEval(program: Command, interrupt: Interrupt): void {
  const { shape } = evaluationOptionsSchema;
  const defaults = evaluationOptionsSchema.parse({ tasks: names });
  const command = newCommand(program, 'eval', 'tasks with memory, with RAG, with neither', [
    'eval --run runs/first --data data --tasks arc_easy,squad --modes none,memory,rag --bank general',
    'eval --run runs/more --data data --tasks nq_open --modes none,memory:5,memory:5:storage=f16,rag:1,rag:3,rag:5,rag:7',
    'eval --run runs/plain --data data --modes none --limit 50,arc_easy=200,mmlu=200 --json',
  ])
    .option('--run <folder>', 'keeps what is measured: the same command goes on after an interruption')
    .option('--data <folder>', "folder of the data sets' folders")
    .option('--tasks <names>', `with commas between them: ${names.join(', ')}`, names.join(','))
    .option(
      '--modes <modes>',
      "none, memory, rag; with a number of references rag:3; of another profile memory:5:kept=8:storage=f16; with the item's own passages memory:gold, rag:gold",
      'none,memory,rag',
    )
    .addOption(
      checked('--limit <n>', 'items of each task; for single ones 50,arc_easy=200', limitsSchema).default(
        { limit: defaults.limit, limits: {} },
        String(defaults.limit),
      ),
    )
    .addOption(number('--shots <n>', 'solved items before each prompt', shape.shots).default(defaults.shots))
    .addOption(
      number('--memories <n>', 'references of each item', z.int().min(1).max(mostReferences)).default(recalledMemories),
    )
    .addOption(
      checked(
        '--overlap <share>',
        'references that overlap an item by more are left out (0..1, or "none")',
        z
          .string()
          .transform((value) => (value === 'none' ? null : Number(value)))
          .pipe(shape.overlap.unwrap()),
      ).default(defaultOverlap, '2/3'),
    )
    .option('--no-document-start', "contexts do not begin with the model's document-start token")
    .addOption(number('--seed <n>', 'draws items and shots', shape.seed).default(defaults.seed));
  addModelFlags(addBankFlag(command)).action(async (flags: EvalFlags) => {
    const terminal = terminalOf(flags);
    const [folder, data] = [given(flags.run, '--run'), given(flags.data, '--data')];
    const signal = interrupt.signal();
    const modes = parseModes(flags.modes, flags.memories);
    await using evaluated = await open(flags, modes, terminal, signal);
    using progress = terminal.progress('Measuring');
    const { limit, shots, seed, documentStart, overlap } = flags;
    const wanted = flags.tasks.split(',').map((name) => name.trim()) as [string, ...string[]];
    const request = { folder, data, modes, tasks: wanted, ...limit, shots, seed, documentStart, overlap, signal };
    for await (const event of evaluate(evaluated, request)) {
      if (event.kind === 'batch') {
        const detail = `${event.task} ${event.mode} ${event.tokensPerSecond.toFixed(0)} tokens/s`;
        progress.update(event.done, event.total, detail);
      } else terminal.results(event.cells, () => describeCells(event.cells));
    }
  });
  command.hook('preSubcommand', refuseFlags);
  for (const addSubcommand of subcommands) addSubcommand(command, interrupt);
}

/** Flags in front of a subcommand would be read by nobody. */
function refuseFlags(command: Command, subcommand: Command): void {
  const given = command.options.find((option) => command.getOptionValueSource(option.attributeName()) === 'cli');
  if (given === undefined) return;
  const name = `${command.name()} ${subcommand.name()}`;
  throw new Memory3Error('usage', `The flag ${given.long} stands in front of "${subcommand.name()}".`, {
    remedy: `Put the flags behind it: memory3 ${name} ...`,
  });
}

/** Commander would ask for a required flag of this command in its subcommands too. */
function given(value: string | undefined, flag: string): string {
  if (value !== undefined) return value;
  throw new Memory3Error('usage', `The flag ${flag} <folder> is missing.`);
}

/** A bank is opened where a mode needs one. */
async function open(
  flags: EvalFlags,
  modes: readonly Mode[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Evaluated & AsyncDisposable> {
  using fetching = showFetching(terminal, signal, flags.offline);
  const options = { ...modelOptions(flags), fetch: fetching.options };
  if (mostRecalled(modes) === 0) return { ...(await openModel(options)), recall: null };
  return await openWorkspace({
    ...workspaceOptions(flags),
    fetch: fetching.options,
    onNotice: (message) => terminal.notice(message),
  });
}

/** A line for each cell; what is left out is said where something is. */
function describeCells(cells: readonly Cell[]): string {
  return table(
    ['task', 'metric', 'mode', 'value', '95 %', 'items', 'differences', 'remarks'],
    cells.map((cell) => [
      cell.task,
      cell.metric,
      cell.mode,
      decimal(cell.value),
      `${decimal(cell.low)} to ${decimal(cell.high)}`,
      String(cell.items),
      cell.differences.map((difference) => describeDifference(cell, difference)).join('; '),
      remarks(cell).join(', '),
    ]),
  );
}

function describeDifference({ metric }: Cell, difference: Difference): string {
  const { to, value, low, high } = difference;
  const amount = `${signed(value)} (${signed(low)} to ${signed(high)})`;
  const better = isBetter(metric, difference);
  return `${better === null ? 'within noise of' : better ? 'better than' : 'worse than'} ${to}: ${amount}`;
}

function remarks({ tooLong, leftOut, short, held, heldOf, noGold, goldLeftOut, items }: Cell): string[] {
  if (items === 0 && noGold > 0) return ['no gold passages'];
  return [
    ...(held === null ? [] : [`answer in a reference: ${held} of ${heldOf}`]),
    ...(noGold === 0 ? [] : [`without a gold passage: ${noGold}`]),
    ...(goldLeftOut === 0 ? [] : [`pieces of gold passages left out: ${goldLeftOut}`]),
    ...(leftOut === 0 ? [] : [`overlapping references left out: ${leftOut}`]),
    ...(short === 0 ? [] : [`with fewer references: ${short}`]),
    ...(tooLong === 0 ? [] : [`too long: ${tooLong}`]),
  ];
}

function decimal(value: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(3);
}

function signed(value: number): string {
  return `${value > 0 ? '+' : ''}${decimal(value)}`;
}
