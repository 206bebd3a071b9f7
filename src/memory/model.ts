/** A model that can run: its file, a device, and the inputs that every graph of it takes. */

import { LRUCache } from 'lru-cache';
import { buildLikelihoods } from '../graph/likelihoods.ts';
import type { Precision } from '../graph/linear.ts';
import { type OnnxModel, writeOnnx } from '../graph/onnx.ts';
import { constantParameters } from '../graph/parameters.ts';
import { buildReader } from '../graph/reader.ts';
import { buildSurvey } from '../graph/survey.ts';
import { type TransformerOptions, tokenInputNames } from '../graph/transformer.ts';
import { buildWriter, type GraphScoring } from '../graph/writer.ts';
import type { ModelConfig } from '../model/config.ts';
import { gatherRows } from '../model/quantised.ts';
import { rotaryTables } from '../model/rope.ts';
import type { DenseTensor, Weights, WeightTensor } from '../model/weights.ts';
import type { Device, TensorData } from '../runtime/device.ts';
import type { AnswerClassifier } from './answer-classifier.ts';

/** The part of a model file that computation needs. */
export interface ModelSource {
  readonly config: ModelConfig;
  readonly weights: Weights;
}

export interface LanguageModelOptions {
  /** 'f32' unpacks every matrix, for comparisons; default 'file'. */
  readonly precision?: Precision;
  /** Memory layers of the reader that serves contexts without memory too, so that one is compiled; default none. */
  readonly memoryLayers?: readonly number[];
  /** Of the adapter, `[k, hiddenSize]`: read behind a reference by profiles that keep them; default none. */
  readonly summaryTokens?: DenseTensor | null;
  /** Of the adapter (`answer-classifier.ts`), for profiles that keep tokens by it; default none. */
  readonly answerClassifier?: AnswerClassifier | null;
  /** Sessions of this model write a profile of their runs (`runtime/profile.ts`). */
  readonly profilePrefix?: string;
}

/** Bytes of key-values: a header and the openings of many templates, which take a megabyte or so, or a few long beginnings. */
const rememberedConstants = 128 * 2 ** 20;

/** Runs one model on one device. Graphs are built and compiled when they are first needed. */
export class LanguageModel {
  readonly config: ModelConfig;
  readonly device: Device;
  readonly #weights: Weights;
  readonly #embedding: WeightTensor;
  readonly #options: LanguageModelOptions;
  readonly #sessions = new Map<string, Promise<number>>();
  readonly #constants = new LRUCache<string, Promise<Float32Array>>({ maxSize: rememberedConstants });

  constructor(source: ModelSource, device: Device, options: LanguageModelOptions = {}) {
    this.config = source.config;
    this.device = device;
    this.#weights = source.weights;
    this.#embedding = source.weights.get('model.embed_tokens.weight');
    this.#options = options;
  }

  /** Memory layers of the reader for contexts that have no memories. */
  get memoryLayers(): readonly number[] {
    return this.#options.memoryLayers ?? [];
  }

  /** Embeddings of the tokens that are read behind a reference, `[k, hiddenSize]`; null for none. */
  get summaryTokens(): DenseTensor | null {
    return this.#options.summaryTokens ?? null;
  }

  /** By which `answer-weighted` profiles keep tokens; null for none. */
  get answerClassifier(): AnswerClassifier | null {
    return this.#options.answerClassifier ?? null;
  }

  /**
   * The session that reads and generates, with these layers as memory layers.
   * @param attentionShares true for another session that says where attention went; answers are made without
   */
  readerSession(memoryLayers: readonly number[] = this.memoryLayers, attentionShares = false): Promise<number> {
    return this.#session(`reader${attentionShares ? '-with-shares' : ''}:${memoryLayers}`, () =>
      buildReader(this.config, this.#weights, { ...this.#graphOptions, memoryLayers, attentionShares }),
    );
  }

  /** The session that makes likelihoods of hidden vectors; it holds the output head's weights and nothing else. */
  likelihoodSession(): Promise<number> {
    return this.#session('likelihoods', () =>
      buildLikelihoods(this.config, this.#weights, this.#graphOptions.precision),
    );
  }

  /** The session that encodes references for these layers. */
  writerSession(layers: readonly number[], scoring: GraphScoring): Promise<number> {
    const { precision, fusedScores } = this.#graphOptions;
    return this.#session(`writer:${scoring}:${layers}`, () =>
      buildWriter(this.config, (builder) => constantParameters(builder, this.#weights, precision), {
        fusedScores,
        layers,
        scoring,
        ...(this.answerClassifier === null ? {} : { answerClassifier: this.answerClassifier }),
      }),
    );
  }

  /** The session in which single attention heads can be kept from looking far back. */
  surveySession(): Promise<number> {
    return this.#session('survey', () => buildSurvey(this.config, this.#weights, this.#graphOptions));
  }

  /**
   * Key-values of tokens that contexts begin with (header, template), `[layers, 2, kvHeads, tokens, headDim]`: constant, so
   * computed once for each key, by whoever asks first, and kept while there is room. Nobody may change them.
   */
  constantKeysValues(key: string, tokens: number, compute: () => Promise<Float32Array>): Promise<Float32Array> {
    const { layers, kvHeads, headDim } = this.config;
    const size = tokens * layers * 2 * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
    const made = this.#constants;
    const kept = {
      get: (name: string) => made.get(name),
      delete: (name: string) => made.delete(name),
      set: (name: string, value: Promise<Float32Array>) => made.set(name, value, { size }),
    };
    return remembered(kept, key, compute);
  }

  /** Frees every compiled graph; contexts that are open end with them, what is opened later compiles them again. */
  async releaseSessions(): Promise<void> {
    const sessions = await Promise.all(this.#sessions.values());
    this.#sessions.clear();
    for (const session of sessions) await this.device.release(session);
  }

  /**
   * The inputs that depend on tokens and positions alone: embeddings, rotary tables and their row numbers.
   * @param tokens batch-major, `batch * length` ids.
   * @param positions one for each token, any order.
   */
  tokenInputs(tokens: ArrayLike<number>, positions: ArrayLike<number>, batch: number): Record<string, TensorData> {
    const count = tokens.length;
    const { hiddenSize, headDim } = this.config;
    const hidden = new Float32Array(count * hiddenSize);
    gatherRows(this.#embedding, tokens, hidden);
    const half = headDim / 2;
    const { cos, sin } = rotaryTables(this.config, positions);
    const rowNumbers = BigInt64Array.from({ length: count }, (_, row) => BigInt(row));
    return {
      [tokenInputNames.hidden]: { type: 'float32', shape: [count, hiddenSize], data: hidden },
      [tokenInputNames.rotaryCos]: { type: 'float32', shape: [count, half], data: cos },
      [tokenInputNames.rotarySin]: { type: 'float32', shape: [count, half], data: sin },
      [tokenInputNames.positionIds]: { type: 'int64', shape: [batch, count / batch], data: rowNumbers },
    };
  }

  get #graphOptions(): TransformerOptions & { readonly precision: Precision } {
    return { precision: this.#options.precision ?? 'file', fusedScores: this.device.provider !== 'webgpu' };
  }

  #session(key: string, build: () => Parameters<typeof writeOnnx>[0]): Promise<number> {
    return remembered(this.#sessions, key, () => {
      const { profilePrefix } = this.#options;
      const model: OnnxModel = writeOnnx(build());
      return this.device.session({ ...model, ...(profilePrefix === undefined ? {} : { profilePrefix }) });
    });
  }
}

/** What is made once for each key. A failure is forgotten: memory that ran out may be there the next time. */
function remembered<Value>(
  made: Pick<Map<string, Promise<Value>>, 'get' | 'delete'> & { set(key: string, value: Promise<Value>): unknown },
  key: string,
  make: () => Promise<Value>,
): Promise<Value> {
  const known = made.get(key);
  if (known !== undefined) return known;
  const value = make();
  made.set(key, value);
  value.catch(() => {
    if (made.get(key) === value) made.delete(key);
  });
  return value;
}
