/** `memory3 convert`: trains a model to write and to read memories. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { measureLayers } from '../evaluate/measure-layers.ts';
import { openModel } from '../generate/workspace.ts';
import { defaultLanguageModel } from '../hub/catalogue.ts';
import { readAdapterCard } from '../memory/adapter.ts';
import { conversionSchema, convert } from '../train/conversion/convert.ts';
import { type FittedClassifier, fitAnswerClassifier, writeWithClassifier } from '../train/conversion/fit-answers.ts';
import { referenceModes } from '../train/conversion/group.ts';
import { readCardResults } from './card-results.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addDeviceFlags,
  addOfflineFlag,
  addProfileFlags,
  checked,
  definedOnly,
  type ModelFlags,
  modelOptions,
  number,
  refuseIdle,
} from './options.ts';
import { showFetching } from './pull.ts';
import { showTraining } from './training-progress.ts';

interface ConvertFlags extends Omit<ModelFlags, 'model' | 'adapter' | 'embedder'> {
  readonly data: string;
  readonly run: string;
  readonly out: string;
  readonly name?: string;
  readonly from?: string;
  readonly mode: (typeof referenceModes)[number];
  readonly learn: z.output<typeof conversionSchema>['learn'];
  readonly steps: number;
  readonly rate: number;
  readonly rank: number;
  readonly references: number;
  readonly contexts: number;
  readonly summaryTokens: number;
  readonly seed: number;
  readonly recompute?: boolean;
  readonly results?: string;
  readonly json?: boolean;
}

export function addConvert(program: Command, interrupt: Interrupt): void {
  const { shape } = conversionSchema;
  const defaults = conversionSchema.parse({});
  const command = newCommand(program, 'convert', 'train a model to write and read memories; makes an adapter', [
    'convert --data data --run runs/conversion --out my-adapter',
    'convert smollm2-135m-instruct-q4_1 --data data --run runs/none --out none --mode none --layers last-20',
  ])
    .argument('[model]', 'a known name, a path or hf:owner/repository/file', defaultLanguageModel)
    .requiredOption('--data <folder>', 'folder of data sets, laid out as docs/training.md says')
    .requiredOption('--run <folder>', 'where the run is kept; an interrupted one is gone on with')
    .requiredOption('--out <folder>', 'where the adapter is written')
    .option('--name <name>', 'name of the adapter (default: that of its folder)')
    .option(
      '--from <adapter>',
      'an adapter that training goes on from, with a fresh optimiser and by default its layers; its classifier may choose the tokens',
    )
    .addOption(
      checked('--mode <mode>', `how contexts get references: ${referenceModes.join(', ')}`, shape.mode).default(
        defaults.mode,
      ),
    )
    .addOption(
      checked('--learn <counts>', 'numbers of kept tokens learned in turn', countsSchema).default(
        defaults.learn,
        defaults.learn.join(','),
      ),
    )
    .addOption(number('--steps <n>', 'optimiser steps', shape.steps.unwrap()).default(defaults.steps))
    .addOption(number('--rate <rate>', 'largest learning rate', z.number().positive()).default(defaults.schedule.rate))
    .addOption(number('--rank <n>', 'rank of the trained matrices (LoRA)', shape.rank.unwrap()).default(defaults.rank))
    .addOption(
      number('--references <n>', 'references of a step', shape.references.unwrap()).default(defaults.references),
    )
    .addOption(number('--contexts <n>', 'contexts of a step', shape.contexts.unwrap()).default(defaults.contexts))
    .addOption(
      number(
        '--summary-tokens <n>',
        'learned tokens that are kept instead of chosen ones',
        shape.summaryTokens.unwrap(),
      )
        .default(defaults.summaryTokens)
        .conflicts(['learn', 'kept', 'scoring']),
    )
    .addOption(number('--seed <n>', 'draws data and first weights', shape.seed.unwrap()).default(defaults.seed))
    .option('--recompute', 'computes each layer again for its gradient: a third of the memory, a third more time')
    .option('--results <file>', 'JSON Lines of `bench quality --json`, to stand in the card');
  addDeviceFlags(addProfileFlags(addOfflineFlag(command))).action(async (model: string, flags: ConvertFlags) => {
    if (flags.mode !== 'memory') {
      const why = `with --mode ${flags.mode} no memories are trained`;
      refuseIdle(command, ['learn', 'summaryTokens'], why, 'train with --mode memory');
    }
    if (flags.scoring === 'answer-weighted' && flags.from === undefined) {
      throw new Memory3Error(
        'usage',
        '--scoring answer-weighted: tokens are chosen by the classifier of an adapter, and none is named.',
        {
          remedy: 'Name the adapter that training goes on from (--from). A new adapter gets its classifier at the end.',
        },
      );
    }
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    const { data, run, out, mode, learn, steps, rate, rank, references, contexts, summaryTokens, seed } = flags;
    const results = readCardResults(flags.results);
    using fetching = showFetching(terminal, signal, flags.offline);
    // The classifier is of the adapter that training goes on from; the bare model that is opened here has none.
    const { scoring, ...others } = flags;
    const bare = modelOptions(scoring === 'answer-weighted' ? others : flags);
    await using opened = await openModel({ ...bare, model, adapter: null, fetch: fetching.options });
    const layersFor = async (): Promise<readonly number[]> => {
      if (flags.layers !== undefined || mode !== 'memory') return opened.profile.layers;
      if (flags.from !== undefined) return readAdapterCard(flags.from).profile.layers;
      return await measureLayers(opened, { data, folder: run, signal, onNotice: terminal.notice });
    };
    const profile = { ...opened.profile, ...definedOnly({ scoring }), layers: [...(await layersFor())] };
    await opened.model.releaseSessions();
    const options = {
      ...{ mode, learn, steps, rank, references, contexts, summaryTokens, seed },
      schedule: { ...defaults.schedule, rate },
    };
    const train = async () => {
      using progress = await showTraining(terminal, { label: `conversion (${mode})`, steps, run });
      return await convert({
        ...{ opened, profile, data, run, out, options, signal },
        recompute: flags.recompute ?? false,
        name: flags.name ?? basename(out),
        ...definedOnly({ from: flags.from }),
        card: { training: `memory3 ${process.argv.slice(2).join(' ')}`, results },
        onEvent: progress.onEvent,
        onNotice: terminal.notice,
      });
    };
    const converted = await train();
    const isClassified = flags.scoring === undefined || flags.scoring === 'answer-weighted';
    if (converted.path !== null && mode === 'memory' && summaryTokens === 0 && isClassified) {
      await using adapted = await openModel({ ...modelOptions(flags), model, adapter: out, fetch: fetching.options });
      terminal.notice('The classifier of answers is fitted.');
      const fitted = await fitAnswerClassifier(adapted, data, { signal });
      await writeWithClassifier(out, opened.file, { out, tensor: fitted.tensor });
      terminal.notice(describeFit(fitted));
    }
    terminal.result(converted, () =>
      converted.path === null
        ? 'Interrupted; the same command goes on from here.'
        : `The adapter is in ${converted.path}.`,
    );
  });
}

/** What a classifier of answers was fitted to, and how well it tells tokens apart. */
export function describeFit({ references, tokens, answerShare, area }: FittedClassifier): string {
  const measured = area === null ? '' : `, ${area.toFixed(3)} under the curve on a tenth that took no part`;
  return `Classifier of answers: ${references} references, ${tokens} tokens, ${(100 * answerShare).toFixed(1)} % of them in answers${measured}.`;
}

/** "8,32,all" */
const countsSchema = z
  .string()
  .transform((value) => value.split(',').map((part) => (part === 'all' ? part : Number(part))))
  .pipe(conversionSchema.shape.learn.unwrap());
