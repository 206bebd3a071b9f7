/**
 * A computation graph as plain data, and the small builder that writes one.
 *
 * A graph is a list of ONNX operators in the order in which they run; values are named by strings. It is kept as data
 * (rather than written straight to bytes) so that it can be looked at, tested, counted and, for training, turned into
 * the graph of its gradient. `onnx.ts` writes it as an ONNX ModelProto.
 */

export type ElementType = 'float32' | 'int64' | 'uint8';
type ElementArray = Float32Array | BigInt64Array | Uint8Array;

/** A graph's input or output; a string stands for a dimension that is known only when the graph runs. */
export interface ValueInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (number | string)[];
}

export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: ElementArray;
}

export type Attribute = number | readonly number[] | string | { readonly float: number };

export interface Operator {
  readonly type: string;
  /** Empty for standard ONNX operators. */
  readonly domain: '' | 'com.microsoft';
  /** An empty string stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Numbers are integers; floats are written `{ float }`, since ONNX tells them apart. */
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly initializers: readonly Initializer[];
  readonly operators: readonly Operator[];
}

/** Operators that ONNX Runtime adds to the standard ones. */
const contributed = new Set([
  'FusedMatMul',
  'MatMulNBits',
  'QuickGelu',
  'RotaryEmbedding',
  'SkipSimplifiedLayerNormalization',
]);

/** Collects operators, inputs, outputs and constants, and gives every value a name. */
export class GraphBuilder {
  readonly #name: string;
  readonly #inputs: ValueInfo[] = [];
  readonly #outputs: ValueInfo[] = [];
  readonly #initializers = new Map<string, Initializer>();
  readonly #operators: Operator[] = [];
  #values = 0;

  constructor(name: string) {
    this.#name = name;
  }

  input(name: string, type: ElementType, shape: readonly (number | string)[]): string {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  /** Makes `value` an output called `name`. */
  output(value: string, name: string, type: ElementType, shape: readonly (number | string)[]): void {
    this.#operators.push({ type: 'Identity', domain: '', inputs: [value], outputs: [name], attributes: {} });
    this.#outputs.push({ name, type, shape });
  }

  /** A constant, stored once for each name. */
  constant(name: string, type: ElementType, shape: readonly number[], data: ElementArray): string {
    if (!this.#initializers.has(name)) this.#initializers.set(name, { name, type, shape, data });
    return name;
  }

  /** A constant of one number, which is broadcast. */
  number(value: number): string {
    return this.constant(`number:${value}`, 'float32', [1], Float32Array.of(value));
  }

  /** A small constant of integers: shapes, axes, indices. */
  integers(values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.constant(`integers:${values.join(',')}`, 'int64', [values.length], data);
  }

  /** Adds an operator with one output and returns that output's name. */
  apply(type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.applyMany(type, inputs, 1, attributes)[0] as string;
  }

  /** Adds an operator with `count` outputs and returns their names. */
  applyMany(
    type: string,
    inputs: readonly string[],
    count: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string[] {
    const outputs = Array.from({ length: count }, () => `${type}:${this.#values++}`);
    const domain = contributed.has(type) ? 'com.microsoft' : '';
    this.#operators.push({ type, domain, inputs, outputs, attributes });
    return outputs;
  }

  /** The operators so far, in order. */
  get operators(): readonly Operator[] {
    return this.#operators;
  }

  /** Whether a value is an input or a constant, with its shape; undefined for one that an operator computes. */
  given(value: string): { readonly shape: readonly (number | string)[] } | undefined {
    return this.#initializers.get(value) ?? this.#inputs.find(({ name }) => name === value);
  }

  /** The graph, without operators that no output needs. */
  finish(): Graph {
    const needed = new Set(this.#outputs.map(({ name }) => name));
    const operators: Operator[] = [];
    for (const operator of this.#operators.toReversed()) {
      if (!operator.outputs.some((output) => needed.has(output))) continue;
      for (const input of operator.inputs) needed.add(input);
      operators.push(operator);
    }
    return {
      name: this.#name,
      inputs: this.#inputs,
      outputs: this.#outputs,
      initializers: [...this.#initializers.values()].filter(({ name }) => needed.has(name)),
      operators: operators.reverse(),
    };
  }
}
