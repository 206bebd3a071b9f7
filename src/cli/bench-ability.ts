/** `memory3 bench ability`: what a model can do without memories. */
import type { Command } from 'commander';
import { z } from 'zod';
import { type AbilityRow, measureAbility } from '../evaluate/ability.ts';
import { openModel } from '../generate/workspace.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addPlainModelFlags, modelOptions, number, type PlainModelFlags } from './options.ts';
import { showFetching } from './pull.ts';
import { table } from './terminal.ts';

interface AbilityFlags extends PlainModelFlags {
  readonly data: string;
  readonly limit: number;
  readonly seed: number;
  readonly json?: boolean;
}

export function addAbility(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'ability', 'perplexity and multiple choice without memories', [
    'bench ability --data data --limit 200',
    'bench ability --data data --no-adapter --json',
  ])
    .requiredOption('--data <folder>', 'folder with wikitext2, arc_easy, piqa, hellaswag and boolq')
    .addOption(number('--limit <n>', 'items of each', z.int().min(1)).default(200))
    .addOption(number('--seed <n>', 'draws the items', z.int().min(0).max(0xffff_ffff)).default(0));
  addPlainModelFlags(command).action(async (flags: AbilityFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const rows: AbilityRow[] = [];
    const { data, limit, seed } = flags;
    for await (const row of measureAbility(opened.model, opened.tokenizer, data, { limit, seed, signal }))
      rows.push(row);
    terminal.results(rows, () =>
      table(
        ['task', 'metric', 'value', 'items'],
        rows.map(({ task, metric, value, items }) => [task, metric, value.toFixed(3), String(items)]),
      ),
    );
  });
}
