/** `memory3 train sft` and `memory3 train dpo`: answers and preferences, with recalled references. */
import type { Command } from 'commander';
import {
  type FineTuningOptions,
  type FineTuningResult,
  fineTuneAnswers,
  fineTunePreferences,
} from '../train/fine-tuning/fine-tune.ts';
import {
  defaultLength,
  loraSchema,
  preferenceSettingsSchema,
  type SupervisedSettings,
  supervisedSettingsSchema,
} from '../train/fine-tuning/settings.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addBankFlag,
  addModelFlags,
  type BankFlags,
  deviceOptions,
  type ModelFlags,
  modelOptions,
  number,
  refuseIdle,
} from './options.ts';
import { showFetching } from './pull.ts';
import { formatCount, formatDuration, type Progress, type Terminal } from './terminal.ts';
import { showTraining, type TrainingProgress } from './training-progress.ts';

interface FineTuningFlags extends ModelFlags, BankFlags {
  readonly data: readonly string[];
  readonly validation?: readonly string[];
  readonly run: string;
  readonly memory: boolean;
  readonly memories: number;
  readonly maxOverlap: number;
  readonly epochs: number;
  readonly steps?: number;
  readonly rate: number;
  readonly warmup: number;
  readonly decay: number;
  readonly batch: number;
  readonly length?: number;
  readonly rounds: number;
  readonly loraRank: number;
  readonly loraScale: number;
  readonly allWeights?: boolean;
  readonly recompute: boolean;
  readonly seed: number;
  readonly checkpointEvery: number;
  readonly validateEvery: number;
  readonly licence?: string;
  readonly dataLicence?: string;
  readonly dataSource?: string;
  readonly json?: boolean;
}

export function addSft(train: Command, interrupt: Interrupt): void {
  const command = newCommand(train, 'sft', 'fine-tune on conversations, with a loss on the answers', [
    'train sft --data chats.jsonl --run runs/chat --bank notes',
    'train sft --data chats.jsonl --run runs/plain --no-memory --epochs 1',
    'train sft --model runs/continual/model --data chats.jsonl --run runs/all --all-weights --layers first-half --kept 8',
  ]);
  addFlags(command, supervisedSettingsSchema).action(async (flags: FineTuningFlags) => {
    refuseIdleTrainingFlags(command, flags);
    await show(flags, interrupt, 'sft', (options) => fineTuneAnswers(options, settingsOf(flags)));
  });
}

export function addDpo(train: Command, interrupt: Interrupt): void {
  const command = newCommand(train, 'dpo', 'fine-tune on preferences between two answers', [
    'train dpo --data preferences.jsonl --run runs/preferences --bank notes',
    'train dpo --adapter runs/chat/adapter --data preferences.jsonl --run runs/preferences --no-memory',
  ]);
  const { shape } = preferenceSettingsSchema;
  addFlags(command, preferenceSettingsSchema)
    .addOption(
      number('--beta <x>', 'how strongly the frozen model holds', shape.beta).default(
        preferenceSettingsSchema.parse({}).beta,
      ),
    )
    .action(async (flags: FineTuningFlags & { readonly beta: number }) => {
      refuseIdleTrainingFlags(command, flags);
      await show(flags, interrupt, 'dpo', (options) =>
        fineTunePreferences(options, { ...settingsOf(flags), beta: flags.beta }),
      );
    });
}

function addFlags(
  command: Command,
  schema: typeof supervisedSettingsSchema | typeof preferenceSettingsSchema,
): Command {
  const { shape } = schema;
  const defaults = schema.parse({});
  const lora = loraSchema.parse({});
  command
    .requiredOption('--data <files...>', 'JSON Lines, plain or gzip; docs/fine-tuning.md has the forms')
    .option('--validation <files...>', 'the same, to validate with')
    .requiredOption('--run <folder>', 'the run and its result; one that is there is gone on with')
    .option('--no-memory', 'without references')
    .addOption(number('--memories <n>', 'references of each chunk', shape.references).default(defaults.references))
    .addOption(
      number('--max-overlap <x>', 'references that overlap more with a sample are refused', shape.maxOverlap).default(
        defaults.maxOverlap,
      ),
    )
    .addOption(number('--epochs <n>', 'times that the data is seen', shape.epochs).default(defaults.epochs))
    .addOption(number('--steps <n>', 'updates of the weights, instead of epochs', shape.steps))
    .addOption(number('--rate <x>', 'the largest learning rate', shape.rate).default(defaults.rate))
    .addOption(
      number('--warmup <n>', 'steps, or a share of them, in which it rises', shape.warmup).default(defaults.warmup),
    )
    .addOption(number('--decay <x>', 'weight decay', shape.decay).default(defaults.decay))
    .addOption(number('--batch <n>', 'sequences or pairs of a step', shape.batch).default(defaults.batch))
    .addOption(
      number(
        '--length <n>',
        `tokens of a sequence; what is longer is left out (default: ${defaultLength}, or what the model can read)`,
        shape.length,
      ),
    )
    .addOption(number('--rounds <n>', 'rounds of a conversation that are kept', shape.rounds).default(defaults.rounds))
    .addOption(
      number('--lora-rank <n>', 'rank of the trained matrices (LoRA)', loraSchema.shape.rank).default(lora.rank),
    )
    .addOption(number('--lora-scale <x>', 'factor on them', loraSchema.shape.scale).default(lora.scale))
    .option('--all-weights', 'train all weights, without LoRA')
    .option('--no-recompute', 'faster, but takes memory for every layer')
    .addOption(
      number('--seed <n>', 'orders the data and draws the first weights of LoRA', shape.seed).default(defaults.seed),
    )
    .addOption(number('--checkpoint-every <n>', 'steps', shape.checkpointEvery).default(defaults.checkpointEvery))
    .addOption(number('--validate-every <n>', 'steps', shape.validateEvery).default(defaults.validateEvery))
    .option('--licence <spdx>', 'of the adapter, for its card (default: NOASSERTION)')
    .option('--data-licence <spdx>', 'of the data, for the card (default: NOASSERTION)')
    .option('--data-source <text>', 'authors and place of the data, for the card');
  return addModelFlags(addBankFlag(command));
}

/**
 * Refuses flags that would change nothing.
 * @throws Memory3Error "usage"
 */
function refuseIdleTrainingFlags(command: Command, { memory, allWeights, steps }: FineTuningFlags): void {
  if (!memory) {
    const recalling = ['bank', 'memories', 'maxOverlap', 'embedder'];
    refuseIdle(command, recalling, 'with --no-memory nothing is recalled', 'leave out --no-memory');
  }
  if (allWeights === true) {
    refuseIdle(command, ['loraRank', 'loraScale'], 'with --all-weights there is no LoRA', 'leave out --all-weights');
  }
  if (steps !== undefined) refuseIdle(command, ['epochs'], 'with --steps they are not counted', 'leave out --steps');
}

function settingsOf(flags: FineTuningFlags): SupervisedSettings {
  const { memories, maxOverlap, epochs, steps, rate, warmup, decay, batch, length, rounds } = flags;
  const { loraRank, loraScale, allWeights, recompute, seed, checkpointEvery, validateEvery } = flags;
  return {
    ...{ maxOverlap, epochs, rate, warmup, decay, batch, rounds, recompute, seed, checkpointEvery, validateEvery },
    references: memories,
    steps: steps ?? null,
    length: length ?? null,
    lora: allWeights === true ? null : { rank: loraRank, scale: loraScale },
  };
}

async function show(
  flags: FineTuningFlags,
  interrupt: Interrupt,
  label: string,
  run: (options: FineTuningOptions) => Promise<FineTuningResult>,
): Promise<void> {
  const terminal = terminalOf(flags);
  const signal = interrupt.signal();
  using fetching = showFetching(terminal, signal, flags.offline);
  using showing = new DisposableStack();
  let progress: TrainingProgress | undefined;
  let frozen: Progress | undefined;
  const { validation, embedder } = flags;
  const result = await run({
    ...modelOptions(flags),
    device: deviceOptions(flags),
    fetch: fetching.options,
    folder: flags.run,
    data: flags.data,
    bank: flags.memory ? flags.bank : null,
    ...(validation === undefined ? {} : { validation }),
    ...(embedder === undefined ? {} : { embedder }),
    card: cardOf(flags),
    signal,
    onNotice: terminal.notice,
    onFrozen(done, total) {
      frozen ??= showing.use(terminal.progress('frozen model'));
      frozen.update(done, total);
    },
    async onBegin(steps) {
      frozen?.[Symbol.dispose]();
      progress = showing.use(await showTraining(terminal, { label, steps, run: flags.run }));
    },
    onEvent: (event) => progress?.onEvent(event),
  });
  showing.dispose();
  report(terminal, result);
}

function cardOf({ licence, dataLicence, dataSource }: FineTuningFlags): NonNullable<FineTuningOptions['card']> {
  return {
    training: `memory3 ${process.argv.slice(2).join(' ')}`,
    ...(licence === undefined ? {} : { licence }),
    ...(dataLicence === undefined ? {} : { dataLicence }),
    ...(dataSource === undefined ? {} : { dataSource }),
  };
}

function report(terminal: Terminal, result: FineTuningResult): void {
  const { saved, step, tokens, seconds, examples, references } = result;
  if (saved === null) return;
  terminal.result({ kind: 'end', ...result }, () =>
    [
      `${saved.path}: ${formatCount(step)} steps, ${formatCount(tokens)} tokens in ${formatDuration(seconds)}, ${formatCount(examples)} examples`,
      ...(references === null
        ? []
        : [
            `references found for ${formatCount(references.found)} chunks, none for ${formatCount(references.none)}; ${formatCount(references.refused)} refused as leakage`,
          ]),
      saved.kind === 'adapter'
        ? `Use it with --adapter ${saved.path}`
        : `Use it with --model ${saved.path} --no-adapter`,
    ].join('\n'),
  );
}
