/** `memory3 bench likelihoods`: how fast multiple choice is scored, against reading a prompt. */
import type { Command } from 'commander';
import { z } from 'zod';
import {
  type LikelihoodSpeed,
  type LikelihoodSpeedReport,
  measureLikelihoodSpeed,
} from '../evaluate/likelihood-speed.ts';
import { openModel } from '../generate/workspace.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addPlainModelFlags, modelOptions, number, type PlainModelFlags } from './options.ts';
import { showFetching } from './pull.ts';
import { table } from './terminal.ts';

interface LikelihoodFlags extends PlainModelFlags {
  readonly data: string;
  readonly tasks: string;
  readonly limit: number;
  readonly rounds: number;
  readonly seed: number;
  readonly json?: boolean;
}

export function addLikelihoods(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'likelihoods', 'how fast multiple choice is scored, against reading a prompt', [
    'bench likelihoods --data data --threads 2 --json',
    'bench likelihoods --data data --tasks mmlu,boolq --limit 16 --rounds 3',
  ])
    .requiredOption('--data <folder>', "folder of the data sets' folders")
    .option('--tasks <names>', 'multiple choice or cloze tasks, with commas between them', 'arc_easy,hellaswag,piqa')
    .addOption(number('--limit <n>', 'items of each task', z.int().min(1)).default(32))
    .addOption(number('--rounds <n>', 'rounds that are counted', z.int().min(1).max(100)).default(5))
    .addOption(number('--seed <n>', 'draws the items', z.int().min(0).max(0xffff_ffff)).default(0));
  addPlainModelFlags(command).action(async (flags: LikelihoodFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const { data, limit, rounds, seed } = flags;
    const report = await measureLikelihoodSpeed(opened, {
      ...{ data, limit, rounds, seed, signal },
      tasks: flags.tasks.split(',').map((name) => name.trim()),
      onNotice: (message) => terminal.notice(message),
    });
    terminal.result(report, () => describe(report));
  });
}

function describe({ prefill, tasks, all }: LikelihoodSpeedReport): string {
  const row = (name: string, { items, tokens, tokensPerSecond, ratio }: LikelihoodSpeed) => [
    name,
    items,
    tokens,
    tokensPerSecond.toFixed(0),
    ratio.toFixed(2),
  ];
  return table(
    ['scored', 'items', 'tokens', 'tok/s', 'of reading'],
    [
      ['(reading a prompt)', '', '', prefill.toFixed(0), ''],
      ...tasks.map(({ task, ...speed }) => row(task, speed)),
      row('all', all),
    ],
  );
}
