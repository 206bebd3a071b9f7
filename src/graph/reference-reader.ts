/**
 * The part of a training graph that reads references and turns them into memories, layer by layer beside the context
 * (`trainer.ts` tells the whole).
 */
import type { ModelConfig } from '../model/config.ts';
import type { GraphBuilder } from './graph.ts';
import type { Parameters } from './parameters.ts';
import { type TrainedReferences, trainerNames } from './trainer-inputs.ts';
import {
  type AttentionInputs,
  type LayerInputs,
  type LayerOutputs,
  TransformerBuilder,
  type TransformerOptions,
} from './transformer.ts';
import { layerScores, type ScoreMasks, scoreMasks } from './writer.ts';

interface ReadReferences extends TrainedReferences {
  /** Rotary tables, shared with the context. */
  readonly tables: Pick<LayerInputs, 'rotaryCos' | 'rotarySin'>;
  /** The context's, whose batch the header is repeated for. */
  readonly inputs: LayerInputs;
  readonly embedding: string;
}

/** What a layer of the context sees of the references. */
type Seen = Pick<AttentionInputs, 'front' | 'past'>;

export class ReferenceReader {
  readonly #builder: GraphBuilder;
  readonly #config: ModelConfig;
  readonly #options: ReadReferences;
  readonly #references: TransformerBuilder;
  readonly #header: TransformerBuilder;
  readonly #bias: { readonly references: string; readonly header: string };
  readonly #masks: ScoreMasks | undefined;
  readonly #recalled: string;
  /** `[R * Lr, hiddenSize]` up to the last memory layer. */
  #hidden: string;
  /** `[header, hiddenSize]` after it. */
  #headerHidden: string | undefined;

  constructor(
    builder: GraphBuilder,
    config: ModelConfig,
    parameters: Parameters,
    transformer: TransformerOptions,
    options: ReadReferences,
  ) {
    const names = trainerNames;
    const { header, scoring, tables } = options;
    const group = config.heads / config.kvHeads;
    this.#builder = builder;
    this.#config = config;
    this.#options = options;
    const positionIds = builder.input(names.referencePositions, 'int64', ['references', 'reference_length']);
    this.#references = new TransformerBuilder(builder, config, parameters, transformer, { positionIds, ...tables });
    const headerPositions = BigInt64Array.from({ length: header }, (_, i) => BigInt(i));
    this.#header = new TransformerBuilder(builder, config, parameters, transformer, {
      positionIds: builder.constant('header_positions', 'int64', [1, header], headerPositions),
      ...tables,
    });
    const repeats = builder.integers([1, 1, group, 1]);
    const shape = ['references', 1, 'reference_length', 'reference_length'];
    const bias = builder.input(names.referenceBias, 'float32', shape);
    this.#bias = { references: builder.apply('Tile', [bias, repeats]), header: headerBias(builder, config, header) };
    this.#masks = scoring === null ? undefined : scoreMasks(builder, scoring, repeats);
    this.#recalled = builder.input(names.recalled, 'int64', ['chunks', 'memories']);
    this.#hidden = this.#embed();
  }

  /** Values that enter the next layer. */
  get hidden(): readonly string[] {
    return [this.#headerHidden ?? this.#hidden];
  }

  /** Reads one layer; every layer in turn. @returns what the context sees in it. */
  layer(layer: number): Seen {
    const last = this.#options.layers.at(-1) as number;
    if (layer > last) {
      const hidden = this.#headerHidden as string;
      const outputs = this.#header.layer(layer, hidden, { bias: this.#bias.header });
      this.#headerHidden = outputs.hidden;
      return { front: this.#forEachSequence(outputs.keys, outputs.values) };
    }
    const outputs = this.#references.layer(layer, this.#hidden, { bias: this.#bias.references });
    this.#hidden = outputs.hidden;
    if (layer === last) this.#headerHidden = this.#rowsOfHeader(outputs.hidden);
    const front = this.#forEachSequence(this.#headerOf(outputs.keys), this.#headerOf(outputs.values));
    const position = this.#options.layers.indexOf(layer);
    if (position === -1) return { front };
    return { front, past: this.#memories(outputs, position, front.keys) };
  }

  /** Embeddings of the references' tokens, summary tokens included. */
  #embed(): string {
    const b = this.#builder;
    const { embedding, summaryTokens } = this.#options;
    const tokens = b.input(trainerNames.referenceTokens, 'int64', ['reference_tokens']);
    const embedded = b.apply('Gather', [embedding, tokens], { axis: 0 });
    if (summaryTokens === 0) return embedded;
    const summary = b.input(trainerNames.summary, 'float32', [summaryTokens, this.#config.hiddenSize]);
    const layout = b.input(trainerNames.summaryLayout, 'int64', ['reference_tokens']);
    return b.apply('Gather', [b.apply('Concat', [embedded, summary], { axis: 0 }), layout], { axis: 0 });
  }

  /** The kept key-values of a memory layer, put together for each chunk. */
  #memories(outputs: LayerOutputs, position: number, frontKeys: string): NonNullable<Seen['past']> {
    const b = this.#builder;
    const indices = this.#keptIndices(outputs, position);
    const width = b.integers([this.#config.headDim]);
    const shape = b.apply('Concat', [b.apply('Shape', [indices]), width], { axis: 0 });
    const everyDimension = b.apply('Expand', [b.apply('Unsqueeze', [indices, b.integers([-1])]), shape]);
    const recall = (tensor: string) => {
      const kept = b.apply('GatherElements', [tensor, everyDimension], { axis: 2 });
      // [chunks, M, kvHeads, k, headDim] to [chunks, kvHeads, M * k, headDim]
      const recalled = b.apply('Gather', [kept, this.#recalled], { axis: 0 });
      const turned = b.apply('Transpose', [recalled], { perm: [0, 2, 1, 3, 4] });
      return b.apply('Reshape', [turned, b.integers([0, this.#config.kvHeads, -1, this.#config.headDim])]);
    };
    const keys = recall(outputs.keys);
    const slots = (value: string) => b.apply('Shape', [value], { start: 2, end: 3 });
    const length = b.apply('Shape', [this.#options.inputs.positionIds], { start: 1, end: 2 });
    const newSlots = b.apply('Add', [slots(frontKeys), length]);
    const { chunkTokens } = this.#options;
    return {
      keys,
      values: recall(outputs.values),
      split: b.apply('Concat', [slots(keys), newSlots], { axis: 0 }),
      ...(chunkTokens === null ? {} : { chunkTokens }),
    };
  }

  /** `[R, kvHeads, k]` */
  #keptIndices(outputs: LayerOutputs, position: number): string {
    const b = this.#builder;
    const { scoring, layers } = this.#options;
    if (scoring === null) {
      const shape = [layers.length, 'references', this.#config.kvHeads, 'kept'];
      if (position === 0) b.input(trainerNames.kept, 'int64', shape);
      const own = b.apply('Gather', [trainerNames.kept, b.integers([position])], { axis: 0 });
      return b.apply('Squeeze', [own, b.integers([0])]);
    }
    if (position === 0) b.input(trainerNames.keptCount, 'int64', [1]);
    const scores = layerScores(b, this.#references, scoring, outputs, this.#masks as ScoreMasks);
    return b.applyMany('TopK', [scores, trainerNames.keptCount], 2, { axis: -1 })[1] as string;
  }

  /** The header's part of the first reference's keys or values: every reference begins with the same. */
  #headerOf(tensor: string): string {
    const b = this.#builder;
    const first = b.apply('Gather', [tensor, b.integers([0])], { axis: 0 });
    const header = b.integers([this.#options.header]);
    const rest = b.apply('Sub', [b.apply('Shape', [tensor], { start: 2, end: 3 }), header]);
    return b.applyMany('Split', [first, b.apply('Concat', [header, rest], { axis: 0 })], 2, { axis: 2 })[0] as string;
  }

  #rowsOfHeader(hidden: string): string {
    const rows = this.#builder.integers(Array.from({ length: this.#options.header }, (_, i) => i));
    return this.#builder.apply('Gather', [hidden, rows], { axis: 0 });
  }

  /** `[1, ...]` to `[B, ...]` */
  #forEachSequence(keys: string, values: string): { keys: string; values: string } {
    const b = this.#builder;
    const batch = b.apply('Shape', [this.#options.inputs.positionIds], { start: 0, end: 1 });
    const shape = b.apply('Concat', [batch, b.integers([1, 1, 1])], { axis: 0 });
    return { keys: b.apply('Expand', [keys, shape]), values: b.apply('Expand', [values, shape]) };
  }
}

/** Causal as far back as a sliding window reaches, `[1, 1, group * header, header]`. */
function headerBias(builder: GraphBuilder, config: ModelConfig, header: number): string {
  const group = config.heads / config.kvHeads;
  const bias = Float32Array.from({ length: group * header * header }, (_, i) => {
    const distance = (Math.floor(i / header) % header) - (i % header);
    return distance >= 0 && distance < (config.slidingWindow ?? header) ? 0 : -1e30;
  });
  return builder.constant('header_bias', 'float32', [1, 1, group * header, header], bias);
}
