/**
 * Is this machine ready? Each check looks at one thing that answering needs and says what to do where it is missing.
 * The last one really runs the model on the device, with profiling, because providers hand operators that they lack to
 * the CPU without a word.
 */
import { access, constants, mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { Memory3Error, messageOf } from '../errors.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { listModels } from '../hub/fetch.ts';
import { banksFolder, modelsFolder } from '../hub/home.ts';
import { findPip } from '../hub/pip.ts';
import { ReadingContext } from '../memory/context.ts';
import { LanguageModel, type LanguageModelOptions } from '../memory/model.ts';
import { Device, type DeviceOptions } from '../runtime/device.ts';
import { type OperatorProfile, takeProfiles } from '../runtime/profile.ts';
import { type AdapterOptions, openAdaptedModel } from './adapted-model.ts';

export interface Check {
  readonly name: string;
  /** 'warning': works, but not as it should. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  readonly remedy: string | null;
  /** For the device: which provider ran which operators of the trial. */
  readonly operators?: readonly OperatorProfile[];
}

export interface DoctorOptions extends DeviceOptions, Pick<AdapterOptions, 'adapter' | 'fetch'> {
  /** Path of the model to try on the device; without it the catalogue's default is tried if it has been fetched. */
  readonly modelPath?: string;
}

/** A download of the default models needs this much, in bytes; banks come on top. */
const spaceNeeded = 500e6;
const memoryNeeded = 1.5e9;
const homeRemedy = 'Set MEMORY3_HOME to a folder that can be read and written.';
/** Tokens of a trial run: one prompt, then single tokens. */
interface Trial {
  readonly prompt: number;
  readonly decode: number;
}
const timed: Trial = { prompt: 16, decode: 8 };
/** Enough for every node to run. */
const profiled: Trial = { prompt: 4, decode: 1 };

/**
 * Runs every check; none throws, a failed one says why.
 * @example for await (const check of examine({ provider: 'webgpu' })) console.log(check.name, check.state);
 */
export async function* examine(options: DoctorOptions = {}): AsyncGenerator<Check, void> {
  yield nodeCheck();
  yield await runtimeCheck();
  yield machineCheck(options.threads);
  yield await folderCheck('models folder', modelsFolder());
  yield await folderCheck('banks folder', banksFolder());
  yield await pipCheck();
  const models = await modelChecks();
  yield* models.checks;
  const path = options.modelPath ?? models.defaultPath;
  const name = `device ${options.provider ?? 'cpu'}`;
  if (path === undefined) yield check(name, 'warning', 'not tried: there is no model yet', 'memory3 pull');
  else yield await deviceCheck(name, path, options);
}

function nodeCheck(): Check {
  const { node } = process.versions;
  const enough = Number(node.split('.')[0]) >= 24;
  return check(
    'Node.js',
    enough ? 'ok' : 'failed',
    `${node} on ${process.platform}-${process.arch}`,
    'Use 24 or newer.',
  );
}

async function runtimeCheck(): Promise<Check> {
  const name = 'ONNX Runtime';
  try {
    await using device = new Device();
    const { version, providers } = await device.about();
    const known = providers.map(({ name, bundled }) => (bundled ? name : `${name} (not in the package)`)).join(', ');
    return check(name, 'ok', `${version} with ${known}`, null);
  } catch (error) {
    return check(name, 'failed', firstLine(error), 'Install the packages again: npm ci');
  }
}

function machineCheck(threads = 0): Check {
  const state = totalmem() >= memoryNeeded ? 'ok' : 'warning';
  const used = threads === 0 ? 'all used' : `threads: ${threads}`;
  const detail = `${(totalmem() / 1e9).toFixed(1)} GB of memory, ${availableParallelism()} cores, ${used}`;
  return check('machine', state, detail, 'The default model needs about 1.2 GB.');
}

/** pip is the way to the models where Hugging Face is out of reach, and of no use elsewhere. */
async function pipCheck(): Promise<Check> {
  const pip = await findPip();
  const detail = pip === null ? 'not found, or does not run' : `${pip.version} (${pip.command.join(' ')})`;
  const remedy = "Only needed where Hugging Face is out of reach: install Python's pip.";
  return check('pip', pip === null ? 'warning' : 'ok', detail, remedy);
}

async function folderCheck(name: string, folder: string): Promise<Check> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const detail = `${folder}, ${(free / 1e9).toFixed(1)} GB free`;
    return check(name, free >= spaceNeeded ? 'ok' : 'warning', detail, 'Make room or set MEMORY3_HOME.');
  } catch (error) {
    return check(name, 'failed', `${folder}: ${firstLine(error)}`, homeRemedy);
  }
}

/** Whether the default models have been fetched, and where the language model lies then. */
async function modelChecks(): Promise<{ readonly checks: Check[]; readonly defaultPath: string | undefined }> {
  const names = [defaultLanguageModel, defaultEmbedder];
  try {
    const models = (await listModels()).filter(({ name, state }) => names.includes(name) && state !== 'missing');
    const checks = names.map((name) => {
      const state = models.find((model) => model.name === name)?.state;
      return check(`model ${name}`, state === undefined ? 'warning' : 'ok', state ?? 'missing', 'memory3 pull');
    });
    return { checks, defaultPath: models.find(({ name }) => name === defaultLanguageModel)?.path };
  } catch (error) {
    const checks = names.map((name) => check(`model ${name}`, 'failed', firstLine(error), homeRemedy));
    return { checks, defaultPath: undefined };
  }
}

async function deviceCheck(name: string, path: string, options: DoctorOptions): Promise<Check> {
  const isElsewhere = (options.provider ?? 'cpu') !== 'cpu';
  try {
    const { tokensPerSecond, modelName } = await tryModel(path, options, timed);
    const operators = await profileModel(path, options);
    const rate = `${tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0)} tokens/s`;
    const detail = `${modelName}, ${rate}; ${describeNodes(operators)}`;
    const fell = isElsewhere && operators.some(isFallen);
    return { ...check(name, fell ? 'warning' : 'ok', detail, 'Compare with --device cpu.'), operators };
  } catch (error) {
    const remedy = error instanceof Memory3Error ? error.remedy : undefined;
    return check(name, 'failed', firstLine(error), remedy ?? (isElsewhere ? 'Use --device cpu.' : null));
  }
}

const isFallen = ({ provider, shapes }: OperatorProfile) => provider === 'CPUExecutionProvider' && !shapes;

/** "1000 nodes on WebGpu, 3 nodes on CPU (2 Concat of shapes, 1 Shape of shapes)"; what ran on the CPU is named if anything ran elsewhere. */
function describeNodes(operators: readonly OperatorProfile[]): string {
  const providers = Map.groupBy(operators, ({ provider }) => provider.replace('ExecutionProvider', ''));
  const parts = [...providers].map(([provider, own]) => {
    const nodes = own.reduce((sum, operator) => sum + operator.nodes, 0);
    const named = own.map(({ nodes, operator, shapes }) => `${nodes} ${operator}${shapes ? ' of shapes' : ''}`);
    return `${nodes} nodes on ${provider}${provider === 'CPU' && providers.size > 1 ? ` (${named.join(', ')})` : ''}`;
  });
  return parts.join(', ');
}

/** Reads a few tokens and decodes a few more; every token is the same, speed does not depend on which. */
async function tryModel(
  path: string,
  options: DoctorOptions,
  { prompt, decode }: Trial,
  profiling: LanguageModelOptions = {},
): Promise<{ readonly tokensPerSecond: number; readonly modelName: string }> {
  const { file: opened } = await openAdaptedModel(path, options);
  using file = opened;
  await using device = new Device(options);
  const model = new LanguageModel(file, device, profiling);
  await using context = await ReadingContext.open(model, { memory: null });
  await context.extend([new Array<number>(prompt).fill(1)]);
  await context.extend([[1]]);
  const started = performance.now();
  for (let token = 0; token < decode; token++) await context.extend([[1]]);
  const seconds = (performance.now() - started) / 1000;
  // Profiles are written when a session is released.
  await model.releaseSessions();
  return { tokensPerSecond: decode / seconds, modelName: file.name };
}

/** Which provider ran what; profiling makes a run slow, so its speed counts for nothing. */
async function profileModel(path: string, options: DoctorOptions): Promise<OperatorProfile[]> {
  const folder = await mkdtemp(join(tmpdir(), 'memory3-doctor-'));
  try {
    const profilePrefix = join(folder, 'profile');
    await tryModel(path, options, profiled, { profilePrefix });
    return takeProfiles(profilePrefix);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function check(name: string, state: Check['state'], detail: string, remedy: string | null): Check {
  return { name, state, detail, remedy: state === 'ok' ? null : remedy };
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n')[0] as string;
}
