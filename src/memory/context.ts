/**
 * Reading: a context whose attention sees explicit memories (paper 3.2, Eq. 4).
 *
 * Each layer's past is one array of slots in the device (`slots.ts`): header, memories (memory layers only), context. The
 * header's key-values ("<bos>Reference:") are seen at every layer, the memories at the memory layers. All memories share
 * positions 0..127, the context starts at 128 with its own bos (parallel positions). Which slots are seen is decided by the
 * bias of each run, so dropping the memories is a matter of bookkeeping and loading others a copy of a few kilobytes; the
 * context's key-values stay where they are.
 *
 * A context without memories has no header and starts at position 0: the ordinary model.
 */

import { Memory3Error } from '../errors.ts';
import { type LayerKind, readerNames } from '../graph/reader.ts';
import type { StateArray, TensorData } from '../runtime/device.ts';
import type { RowValues } from '../runtime/rows.ts';
import { type Layout, plainLayout } from './branches.ts';
import type { ExplicitMemory, StoredMemory } from './format.ts';
import type { LanguageModel } from './model.ts';
import { type MemoryProfile, referenceTokens } from './profile.ts';
import { biasOf, contextBase, regionsOf, type Slots } from './slots.ts';

/** Slots are added in steps of this many, so that arrays seldom move. */
const growth = 64;

/** Constant tokens that are read at once: a long beginning needs no scores of everything with everything. */
const pieceOfBeginning = 256;

export interface ContextOptions {
  /** Sequences that are read side by side; default 1. */
  readonly batch?: number;
  /** Null for the ordinary model, without header and memories. */
  readonly memory: {
    readonly profile: MemoryProfile;
    /** Most memories in use at once. */
    readonly memories: number;
    /** For `extendWithShares`: another graph is compiled, which says where attention went. Default false. */
    readonly attentionShares?: boolean;
  } | null;
}

/** Logits of one or more tokens, row-major. */
export interface Logits {
  readonly rows: number;
  /** `[rows, vocabularySize]` */
  readonly data: Float32Array<ArrayBuffer>;
}

/** What the last layer made of tokens, sequence by sequence, each padded to the longest. */
export interface HiddenVectors {
  /** Vectors of each sequence. */
  readonly length: number;
  /** `[batch, length, hiddenSize]` */
  readonly data: Float32Array<ArrayBuffer>;
}

/** Where the attention of new tokens went at the memory layers, the mean of a layer's heads. */
export interface AttentionShares {
  /** The header, each place for a memory in turn, the context. */
  readonly regions: number;
  /** `[memory layers, batch, length, regions]`; the regions of one token at one layer sum to 1. */
  readonly data: Float32Array;
}

/** Sequences in progress: their key-values and the memories that they see. Free it with `await using`. */
export class ReadingContext implements AsyncDisposable {
  readonly batch: number;
  /** What reads. */
  readonly model: LanguageModel;
  readonly #session: number;
  readonly #state: number;
  readonly #memoryLayers: readonly number[];
  readonly #header: number;
  /** Tokens of the header whose key-values are in its slots: none until the header has been placed. */
  #headerSeen: readonly number[] = [];
  readonly #memorySlots: number;
  readonly #memories: number;
  readonly #start: number;
  readonly #attentionShares: boolean;
  readonly #options: ContextOptions;
  /** Slots for the context that every array has at present. */
  #capacity = growth;
  /** Tokens read so far, for each sequence. */
  readonly #lengths: number[];
  /** Kept tokens of each memory in use, for each sequence. */
  readonly #used: number[][];

  private constructor(
    model: LanguageModel,
    session: number,
    state: number,
    options: ContextOptions,
    slots: { header: number; perMemory: number },
  ) {
    this.model = model;
    this.#session = session;
    this.#options = options;
    this.#state = state;
    this.batch = options.batch ?? 1;
    this.#memoryLayers = options.memory?.profile.layers ?? model.memoryLayers;
    this.#header = slots.header;
    this.#memorySlots = slots.perMemory;
    this.#memories = options.memory?.memories ?? 0;
    this.#attentionShares = options.memory?.attentionShares ?? false;
    this.#start = options.memory === null ? 0 : referenceTokens;
    this.#lengths = Array.from({ length: this.batch }, () => 0);
    this.#used = Array.from({ length: this.batch }, () => []);
  }

  /** Starts empty sequences; the header's key-values are computed once and copied in. */
  static async open(model: LanguageModel, options: ContextOptions): Promise<ReadingContext> {
    const profile = options.memory?.profile;
    const memoryLayers = profile?.layers ?? model.memoryLayers;
    const session = await model.readerSession(memoryLayers, options.memory?.attentionShares);
    const header = profile?.header.length ?? 0;
    const perMemory =
      profile === undefined ? 0 : profile.keptTokens === 'all' ? referenceTokens - header : profile.keptTokens;
    const { layers, kvHeads, headDim } = model.config;
    const batch = options.batch ?? 1;
    const arrays = Array.from({ length: layers }, (_, layer) => {
      const memories = memoryLayers.includes(layer) ? (options.memory?.memories ?? 0) * perMemory : 0;
      const shape = [batch, kvHeads, header + memories + growth, headDim] as const;
      return pastNames(layer).map((name): StateArray => ({ name, shape }));
    }).flat();
    const state = await model.device.state(arrays);
    await using opening = new AsyncDisposableStack();
    const context = opening.use(new ReadingContext(model, session, state, options, { header, perMemory }));
    if (profile !== undefined) {
      await context.#place(await context.#constant(profile.header, 0, []), () => 0);
      context.#headerSeen = profile.header;
    }
    opening.move();
    return context;
  }

  /** Tokens that a sequence has read. */
  length(element = 0): number {
    return this.#lengths[element] as number;
  }

  /**
   * Reads, in every sequence, tokens that many contexts begin with (a template's words): the model computes them once and
   * copies them from then on. They see the header but no memories.
   * @throws Memory3Error "usage" if something has been read already.
   */
  async begin(tokens: readonly number[]): Promise<void> {
    if (this.#lengths.some((length) => length > 0) || this.#used.some(({ length }) => length > 0)) {
      throw new Memory3Error('usage', 'Only an empty context without memories in use can begin with constant tokens.');
    }
    if (tokens.length === 0) return;
    // What all sequences have in common is computed by one.
    const { memory } = this.#options;
    const one = { batch: 1, memory: memory === null ? null : { ...memory, memories: 0 } };
    await using alone = this.batch === 1 ? null : await ReadingContext.open(this.model, one);
    const contexts = alone === null ? [this] : [alone, this];
    for (const context of contexts) await context.#reserve(tokens.length);
    for (let start = 0; start < tokens.length; start += pieceOfBeginning) {
      const piece = tokens.slice(start, start + pieceOfBeginning);
      const data = await (alone ?? this).#constant(piece, this.#start + start, tokens.slice(0, start));
      for (const context of contexts) {
        await context.#place(data, (layer) => context.#base(context.#kind(layer)) + start);
        context.#lengths.fill(start + piece.length);
      }
    }
  }

  /** Forgets what a sequence has read after its first `length` tokens. */
  rewind(length: number, element = 0): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length(element)) {
      throw new Memory3Error('usage', `A context of ${this.length(element)} tokens cannot go back to ${length}.`);
    }
    this.#lengths[element] = length;
  }

  /**
   * Drops a sequence's memories and loads others; they are seen by every token read from now on.
   * @throws Memory3Error "mismatch" if a memory has another shape than the profile's, "usage" if they are too many.
   */
  async useMemories(memories: readonly (StoredMemory | ExplicitMemory)[], element = 0): Promise<void> {
    if (memories.length > this.#memories) {
      throw new Memory3Error('usage', `${memories.length} memories do not fit a context made for ${this.#memories}.`);
    }
    const names = this.#memoryLayers.flatMap(pastNames);
    for (const memory of memories) this.#checkShape(memory);
    await Promise.all(
      memories.map((memory, index) => {
        const values: RowValues = 'values' in memory ? memory.values : { type: 'float32', data: memory.keysValues };
        const rows = new Int32Array(names.length).fill(this.#header + index * this.#memorySlots);
        return this.model.device.write(this.#state, element, { names, rows }, values);
      }),
    );
    this.#used[element] = memories.map(({ kept }) => kept);
  }

  /**
   * Reads the next tokens of every sequence and returns logits.
   * @param tokens for each sequence its next tokens; lengths may differ, a finished sequence gives none.
   * @param wanted 'last': logits after each sequence's last token, `[batch, vocabularySize]` (a sequence that gave no
   * tokens has a row without meaning); 'all': after every token, in order, sequence by sequence.
   */
  async extend(tokens: readonly (readonly number[])[], wanted: 'last' | 'all' = 'last'): Promise<Logits> {
    return (await this.#extend(tokens, wanted, [readerNames.logits])).logits;
  }

  /**
   * As `extend`, and says where each new token's attention went; a sequence shorter than the longest is padded with tokens
   * whose shares have no meaning.
   * @throws Memory3Error "usage" if the context was not opened with `attentionShares`.
   */
  async extendWithShares(
    tokens: readonly (readonly number[])[],
    wanted: 'last' | 'all' = 'last',
  ): Promise<{ readonly logits: Logits; readonly shares: AttentionShares }> {
    if (!this.#attentionShares) {
      throw new Memory3Error('usage', 'This context does not measure attention.', {
        remedy: 'Open it with memory.attentionShares.',
      });
    }
    const names = [readerNames.logits, readerNames.attentionShares];
    const { logits, outputs } = await this.#extend(tokens, wanted, names);
    const data = outputs[readerNames.attentionShares]?.data as Float32Array;
    return { logits, shares: { regions: this.#memories + 2, data } };
  }

  /** As `extend`, but for hidden vectors instead of logits; `LanguageModel.likelihoodSession` makes likelihoods of them. */
  async extendHidden(tokens: readonly (readonly number[])[]): Promise<HiddenVectors> {
    const { outputs } = await this.#extend(tokens, 'last', [readerNames.hidden]);
    const data = outputs[readerNames.hidden]?.data as Float32Array<ArrayBuffer>;
    return { length: Math.max(1, ...tokens.map((sequence) => sequence.length)), data };
  }

  /**
   * Reads texts with branches behind what each sequence has read, and keeps nothing: the context stays what it is.
   * @param layouts for each sequence; none for one that reads nothing
   */
  async readBranches(layouts: readonly Layout[]): Promise<HiddenVectors> {
    const length = Math.max(1, ...layouts.map(({ tokens }) => tokens.length));
    const outputs = await this.#run(layouts, this.#firstPositions(), length, [0], [readerNames.hidden], undefined);
    return { length, data: outputs[readerNames.hidden]?.data as Float32Array<ArrayBuffer> };
  }

  async #extend(
    tokens: readonly (readonly number[])[],
    wanted: 'last' | 'all',
    names: readonly string[],
  ): Promise<{ readonly logits: Logits; readonly outputs: Record<string, TensorData> }> {
    const length = Math.max(1, ...tokens.map((sequence) => sequence.length));
    await this.#reserve(Math.max(...this.#lengths) + length);
    const layouts = tokens.map((sequence) => plainLayout(sequence, length));
    const rows = tokens.flatMap((sequence, element) =>
      wanted === 'last'
        ? [element * length + Math.max(0, sequence.length - 1)]
        : sequence.map((_, i) => element * length + i),
    );
    const outputs = await this.#run(layouts, this.#firstPositions(), length, rows, names, this.#appendRows());
    for (const [element, sequence] of tokens.entries()) {
      this.#lengths[element] = this.length(element) + sequence.length;
    }
    const data = outputs[readerNames.logits]?.data as Float32Array<ArrayBuffer>;
    return { logits: { rows: rows.length, data }, outputs };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.model.device.release(this.#state);
  }

  #checkShape({ layers, kvHeads, kept, headDim }: StoredMemory | ExplicitMemory): void {
    const { config } = this.model;
    const memoryLayers = this.#memoryLayers.length;
    const same = layers === memoryLayers && kvHeads === config.kvHeads && headDim === config.headDim;
    if (same && kept <= this.#memorySlots) return;
    throw new Memory3Error(
      'mismatch',
      `A memory of ${layers} layers x ${kvHeads} heads x ${kept} tokens x ${headDim} does not fit a context of ` +
        `${memoryLayers} memory layers x ${config.kvHeads} heads x ${this.#memorySlots} tokens x ${config.headDim}.`,
    );
  }

  /**
   * Key-values of tokens that contexts begin with, `[layers, 2, kvHeads, tokens, headDim]`, from the copy that the model
   * keeps: what they are depends on nothing but themselves, their position, and the header and the tokens before them.
   */
  #constant(tokens: readonly number[], position: number, before: readonly number[]): Promise<Float32Array> {
    const key = [this.#headerSeen, before, position, tokens].join(' ');
    return this.model.constantKeysValues(key, tokens.length, () => this.#encodeConstant(tokens, position));
  }

  /** Puts key-values into the slots of every sequence that `rowOf` names. */
  async #place(data: Float32Array, rowOf: (layer: number) => number): Promise<void> {
    const names = this.#allNames();
    const rows = Int32Array.from(names, (_, index) => rowOf(Math.floor(index / 2)));
    for (let element = 0; element < this.batch; element++) {
      await this.model.device.write(this.#state, element, { names, rows }, { type: 'float32', data });
    }
  }

  /** `[layers, 2, kvHeads, tokens, headDim]`; all sequences compute the same, the first one's result is taken. */
  async #encodeConstant(tokens: readonly number[], position: number): Promise<Float32Array> {
    const layouts = this.#lengths.map(() => plainLayout(tokens));
    const first = this.#lengths.map(() => position);
    const outputs = await this.#run(layouts, first, tokens.length, [0], [readerNames.keysValues], undefined);
    const all = outputs[readerNames.keysValues]?.data as Float32Array;
    const planes = this.model.config.layers * 2;
    const size = all.length / (planes * this.batch);
    const result = new Float32Array(planes * size);
    for (let plane = 0; plane < planes; plane++) {
      const start = plane * this.batch * size;
      result.set(all.subarray(start, start + size), plane * size);
    }
    return result;
  }

  /** Positions of the next tokens. */
  #firstPositions(): number[] {
    return this.#lengths.map((read) => this.#start + read);
  }

  /** One run of the reader: `length` tokens for each sequence (padded), the first at position `first[sequence]`. */
  #run(
    layouts: readonly Layout[],
    first: readonly number[],
    length: number,
    rows: readonly number[],
    outputs: readonly string[],
    appendRows: Int32Array | undefined,
  ): Promise<Record<string, TensorData>> {
    const ids = new Int32Array(this.batch * length);
    const positions = new Float64Array(ids.length);
    for (const [element, { tokens, segments }] of layouts.entries()) {
      ids.set(tokens, element * length);
      for (const { offset, depth, length: count } of segments) {
        const start = element * length + offset;
        for (let i = 0; i < count; i++) positions[start + i] = (first[element] as number) + depth + i;
      }
    }
    return this.model.device.run({
      session: this.#session,
      states: [this.#state],
      inputs: {
        ...this.model.tokenInputs(ids, positions, this.batch),
        ...this.#kindInputs(layouts, length),
        [readerNames.rows]: { type: 'int64', shape: [rows.length], data: BigInt64Array.from(rows, BigInt) },
      },
      outputs,
      ...(appendRows === undefined
        ? {}
        : {
            append: { state: this.#state, output: readerNames.keysValues, names: this.#allNames(), rows: appendRows },
          }),
    });
  }

  #allNames(): string[] {
    return Array.from({ length: this.model.config.layers }, (_, layer) => pastNames(layer)).flat();
  }

  /** Slots before the context's first. */
  #base(kind: LayerKind): number {
    return contextBase(this.#slots, kind);
  }

  #kind(layer: number): LayerKind {
    return this.#memoryLayers.includes(layer) ? 'memory' : 'plain';
  }

  /** Makes room for `count` context tokens. */
  async #reserve(count: number): Promise<void> {
    if (count <= this.#capacity) return;
    this.#capacity = Math.ceil(count / growth) * growth;
    const rows: Record<string, number> = {};
    for (let layer = 0; layer < this.model.config.layers; layer++) {
      for (const name of pastNames(layer)) rows[name] = this.#base(this.#kind(layer)) + this.#capacity;
    }
    await this.model.device.resize(this.#state, rows);
  }

  /** Where the next token's key-values go, `[layers * 2, batch]`. */
  #appendRows(): Int32Array {
    const { layers } = this.model.config;
    return Int32Array.from({ length: layers * 2 * this.batch }, (_, index) => {
      const layer = Math.floor(index / (2 * this.batch));
      return this.#base(this.#kind(layer)) + this.length(index % this.batch);
    });
  }

  /** What each kind of layer sees: biases over its slots and the new tokens, and how its scores are split. */
  #kindInputs(layouts: readonly Layout[], length: number): Record<string, TensorData> {
    const inputs: Record<string, TensorData> = {};
    const slots = this.#slots;
    const kinds = new Set(Array.from({ length: this.model.config.layers }, (_, layer) => this.#kind(layer)));
    for (const kind of kinds) {
      const { bias, split } = biasOf(slots, kind, layouts, length);
      inputs[readerNames.bias(kind)] = bias;
      inputs[readerNames.split(kind)] = split;
    }
    if (this.#attentionShares) inputs[readerNames.regions] = regionsOf(slots, length);
    return inputs;
  }

  get #slots(): Slots {
    return {
      header: this.#header,
      headerSeen: this.#headerSeen.length,
      memories: this.#memories,
      perMemory: this.#memorySlots,
      capacity: this.#capacity,
      lengths: this.#lengths,
      used: this.#used,
      slidingWindow: this.model.config.slidingWindow ?? Number.POSITIVE_INFINITY,
    };
  }
}

function pastNames(layer: number): [keys: string, values: string] {
  return [readerNames.pastKeys(layer), readerNames.pastValues(layer)];
}
