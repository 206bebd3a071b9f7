/**
 * Fits the classifier of answers of an adapter (`src/train/conversion/fit-answers.ts`) and writes the adapter with it. A
 * conversion does so itself at its end; a mean of adapters (`average-adapters.ts`) wants it again.
 *
 *   node scripts/fit-answer-classifier.ts assets/adapters/mean --data data --out assets/adapters/with-classifier
 */
import { Command } from 'commander';
import { describeFit } from '../src/cli/convert.ts';
import { createInterrupt } from '../src/cli/interrupt.ts';
import { runProgram } from '../src/cli/run.ts';
import { openTerminal } from '../src/cli/terminal.ts';
import { openModelAndAdapter } from '../src/generate/adapted-model.ts';
import { openModel } from '../src/generate/workspace.ts';
import { defaultLanguageModel } from '../src/hub/catalogue.ts';
import { fetchModel } from '../src/hub/fetch.ts';
import { fitAnswerClassifier, writeWithClassifier } from '../src/train/conversion/fit-answers.ts';

const interrupt = createInterrupt();
await runProgram(interrupt, async () => {
  const command = new Command('fit-answer-classifier')
    .argument('<adapter>', 'folder of the adapter')
    .requiredOption('--data <folder>', 'folder of the data sets of conversions')
    .requiredOption('--out <folder>', 'where the adapter with its classifier is written; may be the same')
    .option('--model <name>', 'the base model', defaultLanguageModel)
    .exitOverride();
  command.parse(process.argv);
  const [adapter] = command.args as [string];
  const { data, out, model } = command.opts<{ data: string; out: string; model: string }>();
  const terminal = openTerminal({ json: false });
  await using opened = await openModel({ model, adapter });
  const fitted = await fitAnswerClassifier(opened, data, {
    signal: interrupt.signal(),
    onProgress: (done, total) => {
      if (done % 200 === 0) terminal.notice(`${done} of ${total} references read`);
    },
  });
  using pair = await openModelAndAdapter(await fetchModel(model), { adapter: null });
  const training = `node scripts/fit-answer-classifier.ts ${process.argv.slice(2).join(' ')}`;
  const path = await writeWithClassifier(adapter, pair.base, { out, tensor: fitted.tensor, training });
  terminal.result(null, () => `${describeFit(fitted)} The adapter is in ${path}.`);
});
