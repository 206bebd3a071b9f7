/**
 * Text to a unit vector whose dot product with another is their cosine similarity: sentence embedders as ONNX files. What
 * distinguishes them (pooling, query prefix, longest input) stands in their cards.
 */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Tokenizer } from '@huggingface/tokenizers';
import { Memory3Error, messageOf } from '../errors.ts';
import { type FetchOptions, fetchModel } from '../hub/fetch.ts';
import { ignoreNowhere } from '../hub/place.ts';
import { isHuggingFaceReference, siblingReference } from '../hub/reference.ts';
import type { Device } from '../runtime/device.ts';
import { type EmbedderCard, embedderCards, findEmbedderCard } from './embedder-cards.ts';
import { batchInputs, batchWindows, cutWindows, meanDirection, pool, type TokenWindow } from './embedder-windows.ts';

export interface Embedder extends AsyncDisposable {
  readonly name: string;
  /** Hex sha256 over the model file, the tokenizer and the pooling rule. */
  readonly fingerprint: string;
  readonly dimensions: number;
  /** @returns one unit vector `[dimensions]` for each text. */
  embedPassages(texts: readonly string[]): Promise<Float32Array[]>;
  /** Like `embedPassages`, with the query prefix that the model's card asks for. */
  embedQueries(texts: readonly string[]): Promise<Float32Array[]>;
}

export interface EmbedderOptions extends FetchOptions {
  /** Default: the card whose name the reference contains. */
  readonly card?: EmbedderCard;
}

/** Windows that run together. More is no faster on a CPU. */
const batchRows = 16;

/**
 * Opens an embedder: the name of a card or of the hub's catalogue, the path of an ONNX file or of a folder with one, or
 * an ONNX file on Hugging Face. A tokenizer.json is looked for beside the model and one folder up.
 *
 * @param device runs the model; it stays the caller's and must outlive the embedder.
 * @throws Memory3Error "unsupported" if no card is known, "not-found" if a file is missing, else as `fetchModel` does.
 * @example await using embedder = await openEmbedder('all-minilm-l6-v2', device);
 */
export async function openEmbedder(
  reference: string,
  device: Device,
  options: EmbedderOptions = {},
): Promise<Embedder> {
  const card = options.card ?? findEmbedderCard(reference);
  const named = embedderCards.some(({ name }) => name === reference);
  const source = named ? card.model : reference;
  const modelFile = await findModel(await fetchModel(source, options));
  const tokenizerFile = await findTokenizer(card, source, modelFile, options);
  const [model, tokenizer] = await Promise.all([readFile(modelFile), readFile(tokenizerFile)]);
  return new OnnxEmbedder({
    card,
    device,
    session: await device.session({ model }),
    tokenizer: readTokenizer(tokenizer, tokenizerFile),
    fingerprint: fingerprintOf(model, tokenizer, card),
    // Dynamic quantisation takes one scale from a whole batch: a text's vector would depend on its company.
    rows: model.includes('DynamicQuantizeLinear') ? 1 : batchRows,
  });
}

/** A tokenizer, and the special tokens that it puts around a text. */
interface EmbedderTokenizer {
  readonly encode: (text: string) => number[];
  readonly first: number;
  readonly last: number;
  readonly pad: number;
}

interface EmbedderParts {
  readonly card: EmbedderCard;
  readonly device: Device;
  readonly session: number;
  readonly tokenizer: EmbedderTokenizer;
  readonly fingerprint: string;
  readonly rows: number;
}

class OnnxEmbedder implements Embedder {
  readonly name: string;
  readonly fingerprint: string;
  readonly dimensions: number;
  readonly #parts: EmbedderParts;

  constructor(parts: EmbedderParts) {
    this.name = parts.card.name;
    this.fingerprint = parts.fingerprint;
    this.dimensions = parts.card.dimensions;
    this.#parts = parts;
  }

  embedQueries(texts: readonly string[]): Promise<Float32Array[]> {
    return this.embedPassages(texts.map((text) => this.#parts.card.queryPrefix + text));
  }

  async embedPassages(texts: readonly string[]): Promise<Float32Array[]> {
    const { card, tokenizer, rows } = this.#parts;
    const windows = texts.flatMap((text, index) =>
      cutWindows(tokenizer.encode(text), card.maxTokens - 2).map(
        (tokens): TokenWindow => ({ text: index, tokens: [tokenizer.first, ...tokens, tokenizer.last] }),
      ),
    );
    const vectors = new Map<TokenWindow, Float32Array>();
    for (const batch of batchWindows(windows, rows)) {
      const pooled = await this.#run(batch);
      for (const [row, window] of batch.entries()) vectors.set(window, pooled[row] as Float32Array);
    }
    const ofText = Map.groupBy(windows, ({ text }) => text);
    return texts.map((_, index) => {
      const own = ofText.get(index) as TokenWindow[];
      return meanDirection(
        own.map((window) => vectors.get(window) as Float32Array),
        own.map(({ tokens }) => tokens.length - 2),
      );
    });
  }

  async #run(batch: readonly TokenWindow[]): Promise<Float32Array[]> {
    const { card, device, session, tokenizer } = this.#parts;
    const inputs = batchInputs(batch, tokenizer.pad, card);
    const hidden = (await device.run({ session, inputs, outputs: [card.output] }))[card.output];
    if (hidden?.type !== 'float32' || hidden.shape.length !== 3 || hidden.shape[2] !== card.dimensions) {
      throw new Memory3Error(
        'mismatch',
        `The embedder's output "${card.output}" is ${hidden?.type}[${hidden?.shape}], its card ${card.name} expects float32[batch, tokens, ${card.dimensions}].`,
        { remedy: 'The file is another model than its name says.' },
      );
    }
    const shape = hidden.shape as [number, number, number];
    return batch.map(({ tokens }, row) => pool(hidden.data, shape, row, tokens.length, card.pooling));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.device.release(this.#parts.session);
  }
}

/** The ONNX file itself, or the one in a folder: as exported by sentence-transformers, or directly in it. */
async function findModel(path: string): Promise<string> {
  if (!(await stat(path)).isDirectory()) return path;
  const candidates = ['model.onnx', 'onnx/model.onnx', 'onnx/model_quantized.onnx'].map((file) => join(path, file));
  return firstFile(candidates, `${path} holds no ONNX model`);
}

async function findTokenizer(
  card: EmbedderCard,
  source: string,
  modelFile: string,
  options: FetchOptions,
): Promise<string> {
  if (card.tokenizer) return fileURLToPath(card.tokenizer);
  if (isHuggingFaceReference(source)) return fetchModel(siblingReference(source, 'tokenizer.json'), options);
  const folder = dirname(modelFile);
  const candidates = [join(folder, 'tokenizer.json'), join(dirname(folder), 'tokenizer.json')];
  return firstFile(candidates, `${basename(modelFile)} has no tokenizer`);
}

async function firstFile(candidates: readonly string[], complaint: string): Promise<string> {
  for (const path of candidates) if ((await stat(path).catch(ignoreNowhere))?.isFile()) return path;
  throw new Memory3Error('not-found', `${complaint}: looked for ${candidates.join(', ')}.`);
}

/** The tokenizer.json's own truncation and padding are not applied: cutting windows is done here, in full view. */
function readTokenizer(bytes: Uint8Array, path: string): EmbedderTokenizer {
  try {
    const tokenizer = new Tokenizer(JSON.parse(Buffer.from(bytes).toString('utf8')), {});
    const [first, last, ...more] = tokenizer.encode('').ids;
    const pad = tokenizer.token_to_id('[PAD]') ?? tokenizer.token_to_id('<pad>');
    if (first === undefined || last === undefined || more.length > 0 || pad === undefined) {
      throw new Error('it does not put one special token before and one behind a text');
    }
    const encode = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids;
    return { encode, first, last, pad };
  } catch (error) {
    const reason = messageOf(error);
    throw new Memory3Error('damaged', `${path} is no tokenizer of a sentence embedder: ${reason}.`, { cause: error });
  }
}

function fingerprintOf(model: Uint8Array, tokenizer: Uint8Array, card: EmbedderCard): string {
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  const { pooling, queryPrefix, maxTokens } = card;
  const rule = JSON.stringify({ model: digest(model), tokenizer: digest(tokenizer), pooling, queryPrefix, maxTokens });
  return createHash('sha256').update(rule).digest('hex');
}
