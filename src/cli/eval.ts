/** `memory3 eval`: what memory is worth to a model on public tasks, against no references and references as text. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { onDisk } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import { evaluate, evaluationOptionsSchema } from '../evaluate/eval/evaluate.ts';
import { parseModes } from '../evaluate/eval/modes.ts';
import { reportRun, summaryOf } from '../evaluate/eval/report.ts';
import { readStoredRun } from '../evaluate/eval/stored-run.ts';
import { taskNamed, tasks } from '../evaluate/tasks/all.ts';
import { takeLock } from '../lock.ts';
import { type AddCommand, newCommand, terminalOf } from './command.ts';
import { addEvalAdapt } from './eval-adapt.ts';
import { addEvalBank } from './eval-bank.ts';
import { addEvalDialogue } from './eval-dialogue.ts';
import {
  type Limits,
  limitsOption,
  memoriesOption,
  openForEvaluation,
  overlapOption,
  refuseIdleInModes,
} from './eval-options.ts';
import { printEvaluation } from './eval-tables.ts';
import type { Interrupt } from './interrupt.ts';
import { addBankFlag, addModelFlags, type BankFlags, givenFlag, type ModelFlags, number } from './options.ts';
import type { Terminal } from './terminal.ts';

interface EvalFlags extends ModelFlags, BankFlags {
  readonly run?: string;
  readonly data?: string;
  readonly compare?: string;
  readonly tasks: string;
  readonly modes: string;
  readonly limit: Limits;
  readonly shots: number;
  readonly memories: number;
  readonly overlap: number | null;
  readonly documentStart: boolean;
  readonly heldOut?: boolean;
  readonly seed: number;
  readonly json?: boolean;
}

const names = tasks.map(({ name }) => name);

/** `memory3 eval <name>`: each has flags of its own, behind its name. */
const subcommands: readonly AddCommand[] = [addEvalBank, addEvalAdapt, addEvalDialogue];

export function addEval(program: Command, interrupt: Interrupt): void {
  const { shape } = evaluationOptionsSchema;
  const defaults = evaluationOptionsSchema.parse({ tasks: names });
  const command = newCommand(program, 'eval', 'tasks with memory, with RAG, with neither', [
    'eval --run runs/first --data data --tasks arc_easy,squad --modes none,memory,rag --bank general',
    'eval --run runs/more --data data --tasks nq_open --modes none,memory:5,memory:5:storage=f16,rag:1,rag:3,rag:5,rag:7',
    'eval --run runs/plain --data data --modes none --limit 50,arc_easy=200,mmlu=200 --json',
    'eval --run runs/first --compare runs/larger',
  ])
    .option('--run <folder>', 'keeps what is measured: the same command goes on after an interruption')
    .option(
      '--data <folder>',
      "folder of the data sets' folders; without it nothing is measured, and what the run has is reported",
    )
    .option('--compare <folder>', "another run's folder: puts it beside this one")
    .option('--tasks <names>', `with commas between them: ${names.join(', ')}`, names.join(','))
    .option(
      '--modes <modes>',
      "none, memory, rag; with a number of references rag:3; of another profile memory:5:kept=8:storage=f16; with the item's own passages memory:gold, rag:gold",
      'none,memory,rag',
    )
    .addOption(
      limitsOption('items of each task; for single ones 50,arc_easy=200').default(
        { limit: defaults.limit, limits: {} },
        String(defaults.limit),
      ),
    )
    .addOption(number('--shots <n>', 'solved items before each prompt', shape.shots).default(defaults.shots))
    .addOption(memoriesOption())
    .addOption(overlapOption())
    .option('--held-out', 'leave out items that the adapter that ships was trained on')
    .option('--no-document-start', "contexts do not begin with the model's document-start token")
    .addOption(number('--seed <n>', 'draws items and shots', shape.seed).default(defaults.seed));
  addModelFlags(addBankFlag(command)).action(async (flags: EvalFlags) => {
    const terminal = terminalOf(flags);
    const folder = given(flags.run, '--run');
    if (flags.data === undefined) return await reportOnly(command, folder, flags.compare, terminal);
    const { data, compare } = flags;
    const signal = interrupt.signal();
    const modes = parseModes(flags.modes, flags.memories);
    const wanted = flags.tasks.split(',').map((name) => taskNamed(name.trim()).name) as [string, ...string[]];
    refuseIdleInModes(command, modes);
    await using evaluated = await openForEvaluation(flags, modes, terminal, signal);
    using progress = terminal.progress('Measuring');
    const { limit, shots, seed, documentStart, overlap, heldOut = false } = flags;
    const request = {
      folder,
      data,
      modes,
      tasks: wanted,
      ...limit,
      shots,
      seed,
      documentStart,
      overlap,
      heldOut,
      signal,
    };
    const others = compare === undefined ? {} : { compare };
    for await (const event of evaluate(evaluated, { ...request, ...others })) {
      if (event.kind === 'batch') {
        const detail = `${event.task} ${event.mode} ${event.tokensPerSecond.toFixed(0)} tokens/s`;
        progress.update(event.done, event.total, detail);
      } else {
        progress[Symbol.dispose]();
        printEvaluation(event, terminal);
      }
    }
  });
  command.hook('preSubcommand', refuseFlags);
  for (const addSubcommand of subcommands) addSubcommand(command, interrupt);
}

/** Flags in front of a subcommand would be read by nobody. */
function refuseFlags(command: Command, subcommand: Command): void {
  const flag = givenFlag(command, []);
  if (flag === undefined) return;
  const name = `${command.name()} ${subcommand.name()}`;
  throw new Memory3Error('usage', `The flag ${flag} stands in front of "${subcommand.name()}".`, {
    remedy: `Put the flags behind it: memory3 ${name} ...`,
  });
}

/** Reports what a run has, without measuring; with another run it must have everything. */
async function reportOnly(
  command: Command,
  folder: string,
  compare: string | undefined,
  terminal: Terminal,
): Promise<void> {
  const needless = givenFlag(command, ['run', 'compare', 'json']);
  const isNew = compare === undefined && !existsSync(join(folder, 'config.json'));
  if (needless !== undefined || isNew) given(undefined, '--data');
  const run = readStoredRun(folder);
  if (compare !== undefined && !run.complete) {
    throw new Memory3Error('usage', `The run ${folder} is not finished, so it cannot be compared yet.`, {
      remedy: 'Go on with it: the same command that began it, with --data.',
    });
  }
  using _ = onDisk(folder, () => takeLock(join(folder, 'run.lock'), `The evaluation ${folder}`));
  const summary = summaryOf(run);
  const report = await reportRun(run, summary, compare);
  const cells = compare === undefined ? summary : { cells: [], averages: [] };
  printEvaluation({ ...report, ...cells }, terminal);
}

/** Commander would ask for a required flag of this command in its subcommands too. */
function given(value: string | undefined, flag: string): string {
  if (value !== undefined) return value;
  throw new Memory3Error('usage', `The flag ${flag} <folder> is missing.`);
}
