/**
 * Is this machine ready? Each check looks at one thing that answering needs and says what to do where it is missing.
 * The last one really runs the model on the device, with profiling, because providers hand operators that they lack to
 * the CPU without a word.
 */
import { access, constants, mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { Memory3Error } from '../errors.ts';
import { defaultEmbedder, defaultLanguageModel } from '../hub/catalogue.ts';
import { listModels } from '../hub/fetch.ts';
import { banksFolder, modelsFolder } from '../hub/home.ts';
import { ReadingContext } from '../memory/context.ts';
import { LanguageModel, type LanguageModelOptions } from '../memory/model.ts';
import { openModelFile } from '../model/open.ts';
import { Device, type DeviceOptions } from '../runtime/device.ts';
import { type OperatorProfile, takeProfiles } from '../runtime/profile.ts';

export interface Check {
  readonly name: string;
  /** 'warning': works, but not as it should. */
  readonly state: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  readonly remedy: string | null;
}

export interface DoctorOptions extends DeviceOptions {
  /** Path of the model to try on the device; without it the catalogue's default is tried if it has been fetched. */
  readonly modelPath?: string;
}

/** A download of the default models needs this much, in bytes; banks come on top. */
const spaceNeeded = 500e6;
const memoryNeeded = 1.5e9;
/** Tokens of the trial run: one prompt, then single tokens. */
const trial = { prompt: 64, decode: 16 };

/**
 * Runs every check; none throws, a failed one says why.
 * @example for await (const check of examine({ provider: 'webgpu' })) console.log(check.name, check.state);
 */
export async function* examine(options: DoctorOptions = {}): AsyncGenerator<Check, void> {
  yield runtimeCheck();
  yield memoryCheck();
  yield await folderCheck('models folder', modelsFolder());
  yield await folderCheck('banks folder', banksFolder());
  const models = await listModels();
  for (const name of [defaultLanguageModel, defaultEmbedder]) {
    const model = models.find((listed) => listed.name === name);
    const here = model !== undefined && model.state !== 'missing';
    yield check(`model ${name}`, here ? 'ok' : 'warning', model?.state ?? 'missing', here ? null : 'memory3 pull');
  }
  const fetched = models.find(({ name, state }) => name === defaultLanguageModel && state !== 'missing');
  const path = options.modelPath ?? fetched?.path;
  const name = `device ${options.provider ?? 'cpu'}`;
  if (path === undefined) yield check(name, 'warning', 'not tried: there is no model yet', 'memory3 pull');
  else yield await deviceCheck(name, path, options);
}

function runtimeCheck(): Check {
  const { node } = process.versions;
  const enough = Number(node.split('.')[0]) >= 24;
  return check(
    'Node.js',
    enough ? 'ok' : 'failed',
    `${node} on ${process.platform}-${process.arch}`,
    'Use 24 or newer.',
  );
}

function memoryCheck(): Check {
  const state = totalmem() >= memoryNeeded ? 'ok' : 'warning';
  const detail = `${(totalmem() / 1e9).toFixed(1)} GB of memory, ${availableParallelism()} cores`;
  return check('machine', state, detail, 'The default model needs about 1.2 GB.');
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
    return check(name, 'failed', `${folder}: ${messageOf(error)}`, 'Set MEMORY3_HOME to a folder that can be written.');
  }
}

async function deviceCheck(name: string, path: string, options: DoctorOptions): Promise<Check> {
  try {
    const provider = options.provider ?? 'cpu';
    const speed = `${(await tryModel(path, options)).tokensPerSecond.toFixed(0)} tokens/s`;
    if (provider === 'cpu') return check(name, 'ok', speed, null);
    const profiles = await profileModel(path, options);
    const fallen = profiles.filter((profile) => profile.provider === 'CPUExecutionProvider');
    const [all, onCpu] = [profiles, fallen].map((list) => list.reduce((sum, { runs }) => sum + runs, 0));
    const detail = `${speed}, ${onCpu} of ${all} operator runs fell to the CPU`;
    if (onCpu === 0) return check(name, 'ok', detail, null);
    const operators = [...new Set(fallen.map(({ operator }) => operator))].join(', ');
    return check(name, 'warning', `${detail}: ${operators}`, 'Compare with --device cpu.');
  } catch (error) {
    const remedy = error instanceof Memory3Error && error.remedy !== undefined ? error.remedy : 'Use --device cpu.';
    return check(name, 'failed', messageOf(error), remedy);
  }
}

/** Reads a few tokens and decodes a few more; every token is the same, speed does not depend on which. */
async function tryModel(
  path: string,
  options: DoctorOptions,
  profiling: LanguageModelOptions = {},
): Promise<{ tokensPerSecond: number }> {
  using file = await openModelFile(path);
  await using device = new Device(options);
  const model = new LanguageModel(file, device, profiling);
  await using context = await ReadingContext.open(model, { memory: null });
  await context.extend([new Array<number>(trial.prompt).fill(1)]);
  await context.extend([[1]]);
  const started = performance.now();
  for (let token = 0; token < trial.decode; token++) await context.extend([[1]]);
  const seconds = (performance.now() - started) / 1000;
  // Profiles are written when a session is released.
  await model.releaseSessions();
  return { tokensPerSecond: trial.decode / seconds };
}

/** Which provider ran what; profiling makes a run slow, so its speed counts for nothing. */
async function profileModel(path: string, options: DoctorOptions): Promise<OperatorProfile[]> {
  const folder = await mkdtemp(join(tmpdir(), 'memory3-doctor-'));
  try {
    const profilePrefix = join(folder, 'profile');
    await tryModel(path, options, { profilePrefix });
    return takeProfiles(profilePrefix);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function check(name: string, state: Check['state'], detail: string, remedy: string | null): Check {
  return { name, state, detail, remedy: state === 'ok' ? null : remedy };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] as string) : String(error);
}
