/** Flags that several commands share. Every value is checked when it is read, by the schema that the library uses. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import type { AdapterOptions } from '../generate/adapted-model.ts';
import { type SamplingOptions, samplingSchema } from '../generate/sampling.ts';
import type { OpenModelOptions, WorkspaceOptions } from '../generate/workspace.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import type { ProfileChoice } from '../memory/choose-profile.ts';
import { memoryProfileSchema, scorings, storages } from '../memory/profile.ts';
import { type DeviceOptions, type ExecutionProvider, executionProviders } from '../runtime/device.ts';

/**
 * Refuses flags on the command line that would change nothing.
 * @param names as `command.opts()` has them
 * @param otherwise what makes them count
 * @throws Memory3Error "usage"
 */
export function refuseIdle(command: Command, names: readonly string[], why: string, otherwise: string): void {
  const idle = command.options.filter((option) => {
    const name = option.attributeName();
    return names.includes(name) && command.getOptionValueSource(name) === 'cli';
  });
  if (idle.length === 0) return;
  const flags = idle.map(({ long }) => long).join(', ');
  throw new Memory3Error('usage', `${flags}: ${why}.`, { remedy: `Leave it out, or ${otherwise}.` });
}

/** A flag that stands on the command line, and is not among those named. */
export function givenFlag(command: Command, except: readonly string[]): string | undefined {
  const isGiven = (name: string) => !except.includes(name) && command.getOptionValueSource(name) === 'cli';
  return command.options.find((option) => isGiven(option.attributeName()))?.long ?? undefined;
}

/** A flag whose value must satisfy a schema; a wrong value is an error that names flag and value. */
export function checked(flags: string, description: string, schema: z.ZodType): Option {
  return new Option(flags, description).argParser((value: string) => {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    throw new InvalidArgumentError(result.error.issues.map((issue) => issue.message).join('; '));
  });
}

/** A flag whose value is a number that must satisfy a schema. */
export function number(flags: string, description: string, schema: z.ZodType): Option {
  return checked(flags, description, numeral.pipe(schema as z.ZodType<unknown, number>));
}

/** A number as text; nothing is no 0. */
export const numeral = z
  .string()
  .regex(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, 'A number is expected.')
  .transform(Number);

export interface BankFlags {
  readonly bank: string;
}

export function addBankFlag(command: Command): Command {
  return command.option('--bank <name>', 'a name or a path of a memory bank', 'default');
}

/**
 * The bank of a command that takes its name as an argument too.
 * @throws Memory3Error "usage" if both name one.
 */
export function namedBank(name: string | undefined, flags: BankFlags, command: Command): string {
  if (name === undefined) return flags.bank;
  refuseIdle(command, ['bank'], `the argument "${name}" names the bank already`, 'leave out the argument');
  return name;
}

export interface DeviceFlags {
  readonly device: ExecutionProvider;
  readonly threads?: number;
}

export function addDeviceFlags(command: Command): Command {
  return command
    .addOption(new Option('--device <provider>', 'where to compute').choices(executionProviders).default('cpu'))
    .addOption(number('--threads <n>', 'threads of one run; by default every core', z.int().min(1).max(256)));
}

export function deviceOptions({ device, threads }: DeviceFlags): DeviceOptions {
  return { provider: device, ...(threads === undefined ? {} : { threads }) };
}

export interface AdapterFlags {
  /** false: `--no-adapter`. */
  readonly adapter?: string | false;
}

export function addAdapterFlags(command: Command): Command {
  return command
    .option('--adapter <path>', 'a folder or file of an adapter to the model, or hf:... (default: what ships for it)')
    .option('--no-adapter', 'the model as it is in its file');
}

export function adapterOptions({ adapter }: AdapterFlags): AdapterOptions {
  return adapter === undefined ? {} : { adapter: adapter === false ? null : adapter };
}

/** Of a model by itself. */
export interface PlainModelFlags extends DeviceFlags, AdapterFlags {
  readonly model?: string;
  readonly offline?: boolean;
}

export interface ModelFlags extends PlainModelFlags, ProfileFlags {
  readonly embedder?: string;
}

/** Flags that say with which model, memory profile and embedder, and where. */
export function addModelFlags(command: Command): Command {
  const named = addProfileFlags(addPlainModelFlags(command));
  return named.option('--embedder <name>', `a model of sentences, named as --model is (default: ${defaultEmbedder})`);
}

/** Flags that say with which model, and where, for what reads no memories. */
export function addPlainModelFlags(command: Command): Command {
  const named = command.option(
    '--model <name>',
    `a known name, a path or hf:owner/repository/file (default: ${defaultLanguageModel})`,
  );
  return addDeviceFlags(addOfflineFlag(addAdapterFlags(named)));
}

export function addOfflineFlag(command: Command): Command {
  return command.option('--offline', 'never use the network');
}

export interface ProfileFlags {
  readonly layers?: string;
  readonly kept?: ProfileChoice['keptTokens'];
  readonly scoring?: ProfileChoice['scoring'];
  readonly storage?: ProfileChoice['storage'];
}

/** Flags that say which memories are written. */
export function addProfileFlags(command: Command): Command {
  return addStorageFlags(
    addLayersFlag(command).addOption(kept('--kept <n>', 'tokens kept of each reference, or "all"')),
  );
}

export function addLayersFlag(command: Command): Command {
  return command.option(
    '--layers <choice>',
    'memory layers: first-half, middle, last-half, all, last-N or numbers with commas',
  );
}

/** Of these flags those that say neither layers nor a number of tokens. */
export function addStorageFlags(command: Command): Command {
  return command
    .addOption(new Option('--scoring <rule>', 'how kept tokens are chosen').choices(scorings))
    .addOption(new Option('--storage <type>', 'how memories are stored').choices(storages));
}

/** A number of kept tokens, or "all". */
export function kept(flags: string, description: string): Option {
  const { keptTokens } = memoryProfileSchema.shape;
  return checked(
    flags,
    description,
    z
      .string()
      .transform((value) => (value === 'all' ? value : Number(value)))
      .pipe(keptTokens),
  );
}

export function modelOptions(flags: PlainModelFlags & ProfileFlags): OpenModelOptions {
  const profile = definedOnly({
    layers: flags.layers,
    keptTokens: flags.kept,
    scoring: flags.scoring,
    storage: flags.storage,
  });
  return { ...deviceOptions(flags), ...adapterOptions(flags), ...definedOnly({ model: flags.model }), profile };
}

export function workspaceOptions(flags: ModelFlags & BankFlags): WorkspaceOptions {
  return { ...modelOptions(flags), ...definedOnly({ embedder: flags.embedder }), bank: flags.bank };
}

/** The object without its undefined values. */
export function definedOnly<Value extends object>(value: Value): { [Key in keyof Value]?: NonNullable<Value[Key]> } {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as never;
}

export interface SamplingFlags {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly seed?: number;
}

/** Adds the flags of {@link SamplingFlags}; defaults and ranges are the library's. */
export function addSamplingFlags(command: Command): Command {
  const { shape } = samplingSchema;
  const defaults = samplingSchema.parse({});
  return command
    .addOption(number('--temperature <t>', '0 is greedy', shape.temperature).default(defaults.temperature))
    .addOption(number('--top-k <n>', 'draw among the n most probable tokens', shape.topK).default(defaults.topK))
    .addOption(number('--top-p <p>', 'draw among tokens of this probability', shape.topP).default(defaults.topP))
    .addOption(number('--min-p <p>', 'leave out the improbable', shape.minP).default(defaults.minP))
    .addOption(
      number('--repetition-penalty <x>', 'above 1: repeat less', shape.repetitionPenalty).default(
        defaults.repetitionPenalty,
      ),
    )
    .addOption(number('--seed <n>', 'the same seed gives the same text', shape.seed));
}

export function samplingOptions(flags: SamplingFlags): SamplingOptions {
  const { temperature, topK, topP, minP, repetitionPenalty, seed = null } = flags;
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}
