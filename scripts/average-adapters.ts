/**
 * Makes one adapter of several that were trained from a common beginning: their mean (`src/memory/average-adapters.ts`).
 *
 *   node scripts/average-adapters.ts --out assets/adapters/mean runs/first runs/second runs/third
 */
import { basename } from 'node:path';
import { Command } from 'commander';
import { readCardResults } from '../src/cli/card-results.ts';
import { createInterrupt } from '../src/cli/interrupt.ts';
import { runProgram } from '../src/cli/run.ts';
import { openTerminal } from '../src/cli/terminal.ts';
import { openModel } from '../src/generate/workspace.ts';
import { defaultLanguageModel } from '../src/hub/catalogue.ts';
import { averageAdapters } from '../src/memory/average-adapters.ts';

await runProgram(createInterrupt(), async () => {
  const command = new Command('average-adapters')
    .argument('<adapters...>', 'folders of the adapters')
    .requiredOption('--out <folder>', 'where the mean is written')
    .option('--name <name>', 'its name (default: that of its folder)')
    .option('--model <name>', 'the base model of all', defaultLanguageModel)
    .option('--results <file>', 'JSON Lines of `bench quality --json`, to stand in the card')
    .exitOverride();
  command.parse(process.argv);
  const { out, name, model, results } = command.opts<{ out: string; name?: string; model: string; results?: string }>();
  await using opened = await openModel({ model, adapter: null });
  const path = await averageAdapters(command.args, opened.file, {
    out,
    card: {
      name: name ?? basename(out),
      training: `node scripts/average-adapters.ts ${process.argv.slice(2).join(' ')}`,
      results: readCardResults(results),
    },
  });
  openTerminal({ json: false }).result(null, () => `The mean of ${command.args.length} adapters is in ${path}.`);
});
