/** `memory3 eval dialogue`: dialogues of two turns, scored by a judge (the paper's Table 18). */
import type { Command } from 'commander';
import { Memory3Error } from '../errors.ts';
import { dialogueOptionsSchema, evaluateDialogues } from '../evaluate/dialogue/dialogue.ts';
import { type Judge, judgeOptionsSchema, openJudge } from '../evaluate/dialogue/judge.ts';
import { dialogueQuestions } from '../evaluate/dialogue/questions.ts';
import type { DialogueCell } from '../evaluate/dialogue/summary.ts';
import { describeDifference, describeScore, remarks } from '../evaluate/dialogue/words.ts';
import { parseModes } from '../evaluate/eval/modes.ts';
import { newCommand, terminalOf } from './command.ts';
import { memoriesOption, openForEvaluation, overlapOption, refuseIdleInModes } from './eval-options.ts';
import type { Interrupt } from './interrupt.ts';
import { addBankFlag, addModelFlags, type BankFlags, checked, type ModelFlags, number } from './options.ts';
import { table } from './terminal.ts';

interface DialogueFlags extends ModelFlags, BankFlags {
  readonly run: string;
  readonly judgeUrl: string;
  readonly judgeModel?: string;
  readonly judgeKeyEnv?: string;
  readonly judgeTimeout: number;
  readonly modes: string;
  readonly memories: number;
  readonly overlap: number | null;
  readonly limit: number;
  readonly maxTokens: number;
  readonly json?: boolean;
}

export function addEvalDialogue(evaluation: Command, interrupt: Interrupt): void {
  const { shape } = dialogueOptionsSchema;
  const questions = dialogueQuestions().length;
  const { maxTokens } = dialogueOptionsSchema.parse({});
  const { timeoutSeconds, url } = judgeOptionsSchema.shape;
  const command = newCommand(evaluation, 'dialogue', 'dialogues of two turns, scored from 1 to 10 by a judge', [
    'eval dialogue --run runs/dialogue --judge-url http://localhost:8080/v1 --bank general',
    'eval dialogue --run runs/plain --judge-url https://judge.example/v1 --judge-model large --judge-key-env JUDGE_KEY --modes none',
  ])
    .requiredOption('--run <folder>', 'keeps what is measured: the same command goes on after an interruption')
    .addOption(
      checked(
        '--judge-url <url>',
        'an OpenAI-compatible endpoint, up to and without /chat/completions',
        url,
      ).makeOptionMandatory(),
    )
    .option('--judge-model <name>', 'the name of its model, where it has several')
    .option('--judge-key-env <name>', 'the environment variable that holds its key; the key is written nowhere')
    .addOption(number('--judge-timeout <s>', 'longest wait for one reply, at most 300', timeoutSeconds).default(120))
    .option('--modes <modes>', 'none, memory, rag; with a number of references rag:3', 'none,memory,rag')
    .addOption(memoriesOption())
    .addOption(overlapOption())
    .addOption(number('--limit <n>', 'questions, one of each category in turn', shape.limit).default(questions))
    .addOption(number('--max-tokens <n>', 'longest answer', shape.maxTokens).default(maxTokens));
  addModelFlags(addBankFlag(command)).action(async (flags: DialogueFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    const judge = judgeOf(flags, process.env);
    const modes = parseModes(flags.modes, flags.memories);
    refuseIdleInModes(command, modes);
    await using evaluated = await openForEvaluation(flags, modes, terminal, signal);
    using progress = terminal.progress('Questions');
    const { run: folder, limit, overlap } = flags;
    const onNotice = (message: string) => terminal.notice(message);
    const request = { folder, modes, judge, limit, maxTokens: flags.maxTokens, overlap, onNotice, signal };
    for await (const event of evaluateDialogues(evaluated, request)) {
      if (event.kind === 'question') progress.update(event.done, event.total, `${event.mode} ${event.id}`);
      else {
        progress[Symbol.dispose]();
        terminal.results(event.cells, () => describeDialogues(event.cells));
        terminal.notice(`Report: ${event.report}`);
      }
    }
  });
}

/** @throws Memory3Error "usage" if the key's variable is empty, or the address is none. */
function judgeOf({ judgeUrl, judgeModel, judgeKeyEnv, judgeTimeout }: DialogueFlags, env: NodeJS.ProcessEnv): Judge {
  const key = judgeKeyEnv === undefined ? null : env[judgeKeyEnv];
  if (key === undefined || key === '') {
    throw new Memory3Error('usage', `The environment variable ${judgeKeyEnv} does not hold a key.`, {
      remedy: `Set it, or leave out --judge-key-env for a judge that needs none.`,
    });
  }
  return openJudge({ url: judgeUrl, model: judgeModel ?? null, key, timeoutSeconds: judgeTimeout });
}

/** A line for each category in each mode; the differences are those of both turns. */
function describeDialogues(cells: readonly DialogueCell[]): string {
  const both = cells.filter(({ turn }) => turn === 'both');
  const cell = (turn: DialogueCell['turn'], { category, mode }: DialogueCell) =>
    cells.find((one) => one.turn === turn && one.category === category && one.mode === mode) as DialogueCell;
  return table(
    ['category', 'mode', 'first turn', 'second turn', 'both', 'questions', 'differences', 'remarks'],
    both.map((one) => [
      one.category,
      one.mode,
      describeScore(cell(1, one)),
      describeScore(cell(2, one)),
      describeScore(one),
      String(one.items),
      one.differences.map(describeDifference).join('; '),
      remarks(one).join(', '),
    ]),
  );
}
