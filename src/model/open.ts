/** Opens a model by path: a GGUF file, a safetensors file, or a Hugging Face folder. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Memory3Error, messageOf } from '../errors.ts';
import { BinaryFile, readTextFile } from './binary-file.ts';
import type { ModelConfig } from './config.ts';
import { type GgufMetadata, openGguf } from './gguf.ts';
import { configFromGguf, weightsFromGguf } from './gguf-model.ts';
import { openSafetensorsModel } from './huggingface-model.ts';
import type { Weights } from './weights.ts';

/** What a tokenizer is made from. */
export type TokenizerSource =
  | { readonly kind: 'gguf'; readonly metadata: GgufMetadata }
  /** The parsed tokenizer.json and tokenizer_config.json. */
  | { readonly kind: 'json'; readonly tokenizer: unknown; readonly config: unknown };

/** An open model file; its weights can be read until it is closed. */
export interface ModelFile extends Disposable {
  /** As the file calls itself, else the file's or folder's name. */
  readonly name: string;
  readonly path: string;
  readonly format: 'gguf' | 'safetensors';
  readonly config: ModelConfig;
  readonly weights: Weights;
  /** The Jinja template that turns a conversation into a prompt, if the file has one. */
  readonly chatTemplate: string | null;
  /** Reads what the tokenizer is made from. @throws Memory3Error "not-found" or "damaged" */
  tokenizerSource(): TokenizerSource;
  /**
   * sha256 of the content, hexadecimal: of a GGUF file's bytes; of a folder, of the lines "sha256  file name" of its weights,
   * configuration and tokenizer. Computed once, when first asked for; about 0.3 s for 100 MB.
   */
  fingerprint(): Promise<string>;
}

const longestTokenizer = 128 * 1024 * 1024;
const longestTemplate = 4 * 1024 * 1024;

/**
 * Opens a model and checks its header, configuration and tensors; weights are read when asked for.
 *
 * @param path a `.gguf` file; a `.safetensors` file with config.json and tokenizer.json beside it; or a folder with those
 * @throws Memory3Error "not-found"; "damaged" naming the fault; "unsupported" for another architecture or tensor type
 * @example
 * using model = await openModelFile('SmolLM2-135M-Instruct.Q4_1.gguf');
 * model.config.layers; // 30
 * model.weights.get('model.layers.0.mlp.up_proj.weight').kind; // "blocks"
 */
export async function openModelFile(path: string): Promise<ModelFile> {
  const absolute = resolve(path);
  if (!existsSync(absolute)) throw new Memory3Error('not-found', `There is no model at ${path}.`);
  if (statSync(absolute).isDirectory()) return openFolder(absolute);
  if (hasGgufMagic(absolute)) return openGgufModel(absolute);
  if (extname(absolute) === '.safetensors') return openSafetensorsFiles(absolute, false);
  throw new Memory3Error('unsupported', `${path} is neither a GGUF nor a safetensors file.`);
}

function openFolder(path: string): ModelFile {
  if (existsSync(join(path, 'config.json'))) return openSafetensorsFiles(path, true);
  const ggufs = readdirSync(path).filter((name) => name.endsWith('.gguf'));
  throw new Memory3Error('not-found', `${path} has no config.json, so it is no model folder.`, {
    ...(ggufs[0] !== undefined && { remedy: `It holds GGUF files; name one of them: ${join(path, ggufs[0])}` }),
  });
}

function hasGgufMagic(path: string): boolean {
  if (extname(path) === '.gguf') return true;
  using file = new BinaryFile(path);
  return file.size >= 4 && Buffer.from(file.read(0, 4, 'the magic number')).toString('latin1') === 'GGUF';
}

function openGgufModel(path: string): ModelFile {
  const file = openGguf(path);
  try {
    const config = configFromGguf(file);
    const { metadata } = file;
    const name = metadata.get('general.name');
    const template = metadata.get('tokenizer.chat_template');
    return {
      name: typeof name === 'string' && name !== '' ? name : basename(path, extname(path)),
      path,
      format: 'gguf',
      config,
      weights: weightsFromGguf(file, config),
      chatTemplate: templateOf(template),
      tokenizerSource: () => ({ kind: 'gguf', metadata }),
      fingerprint: once(() => sha256OfFile(path)),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

function openSafetensorsFiles(path: string, isFolder: boolean): ModelFile {
  const model = openSafetensorsModel(path, isFolder);
  const folder = isFolder ? path : dirname(path);
  try {
    return {
      name: basename(path, '.safetensors'),
      path,
      format: 'safetensors',
      config: model.config,
      weights: model.weights,
      chatTemplate: readChatTemplate(folder),
      tokenizerSource: () => ({
        kind: 'json',
        tokenizer: readJson(join(folder, 'tokenizer.json')),
        config: readTokenizerConfig(folder),
      }),
      fingerprint: once(() => sha256OfFolder(folder, model.files)),
      [Symbol.dispose]: () => model[Symbol.dispose](),
    };
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/** tokenizer_config.json; a folder may lack it. */
function readTokenizerConfig(folder: string): unknown {
  const path = join(folder, 'tokenizer_config.json');
  return existsSync(path) ? readJson(path) : {};
}

function readJson(path: string): unknown {
  const { text, damaged } = readTextFile(path, longestTokenizer);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged(`it is not JSON: ${messageOf(cause)}`, cause);
  }
}

/** A file of its own in newer folders, else in tokenizer_config.json: one template, or several of which "default" counts. */
function readChatTemplate(folder: string): string | null {
  const own = join(folder, 'chat_template.jinja');
  if (existsSync(own)) return templateOf(readTextFile(own, longestTemplate).text);
  const config = readTokenizerConfig(folder);
  const template: unknown =
    typeof config === 'object' && config !== null && 'chat_template' in config ? config.chat_template : null;
  return templateOf(Array.isArray(template) ? template.find((one) => one?.name === 'default')?.template : template);
}

/** An empty template is none: every question would vanish in it. */
function templateOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value : null;
}

async function sha256OfFolder(folder: string, weightFiles: readonly string[]): Promise<string> {
  const others = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']
    .map((name) => join(folder, name))
    .filter((path) => existsSync(path));
  const hash = createHash('sha256');
  for (const path of [...weightFiles, ...others]) hash.update(`${await sha256OfFile(path)}  ${basename(path)}\n`);
  return hash.digest('hex');
}

async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  } catch (cause) {
    throw new Memory3Error('disk', `${path} cannot be read.`, { cause });
  }
  return hash.digest('hex');
}

function once<T>(compute: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= compute();
    return result;
  };
}
