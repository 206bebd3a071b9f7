/** Arrays that stay in the worker between runs: key-value caches, weights under training, moments. */
import { Tensor } from 'onnxruntime-node';
import type { StateArray, StateRows } from './device.ts';
import { type RowValues, valueCount, widenRows } from './rows.ts';

export interface MutableArray {
  readonly name: string;
  shape: readonly number[];
  data: Float32Array;
  /** Made once for each allocation: the runtime reads the array behind it at every run. */
  tensor: Tensor;
}

/** Arrays by name. */
export type State = Map<string, MutableArray>;

/** Takes over the data that it is given and makes zeros where there is none. */
export function newState(arrays: readonly StateArray[]): State {
  return new Map(arrays.map(({ name, shape, data }) => [name, allocate(name, shape, data)]));
}

function allocate(name: string, shape: readonly number[], given?: Float32Array): MutableArray {
  const length = shape.reduce((product, extent) => product * extent, 1);
  const data = given ?? new Float32Array(length);
  if (data.length !== length) throw new Error(`"${name}" has ${data.length} numbers, which is not [${shape}]`);
  return { name, shape, data, tensor: new Tensor('float32', data, shape) };
}

export function arrayOf(state: State, name: string): MutableArray {
  const array = state.get(name);
  if (array === undefined) throw new Error(`the state has no array "${name}"`);
  return array;
}

/** Copies of arrays. */
export function read(state: State, names: readonly string[]): Float32Array[] {
  return names.map((name) => arrayOf(state, name).data.slice());
}

export function clear(state: State): void {
  for (const { data } of state.values()) data.fill(0);
}

export function addTo({ name, data }: MutableArray, source: Float32Array): void {
  if (source.length !== data.length) throw new Error(`${source.length} numbers were to be added to "${name}"`);
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + (source[i] as number);
}

/** Over all arrays, in their order: the same state gives the same sum. */
export function sumOfSquares(state: State): number {
  let sum = 0;
  for (const { data } of state.values()) {
    for (let i = 0; i < data.length; i++) sum += (data[i] as number) * (data[i] as number);
  }
  return sum;
}

function rowShape({ name, shape }: MutableArray): readonly [number, number, number, number] {
  if (shape.length !== 4) throw new Error(`"${name}" [${shape}] has no rows`);
  return shape as readonly [number, number, number, number];
}

/** Changes the number of rows of arrays `[batch, heads, rows, width]`; new rows are zero. */
export function resize(state: State, rows: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(rows)) {
    const old = arrayOf(state, name);
    const [batch, heads, oldRows, width] = rowShape(old);
    const grown = allocate(name, [batch, heads, count, width]);
    const kept = Math.min(oldRows, count) * width;
    for (let plane = 0; plane < batch * heads; plane++) {
      const start = plane * oldRows * width;
      grown.data.set(old.data.subarray(start, start + kept), plane * count * width);
    }
    state.set(name, grown);
  }
}

/**
 * Copies rows of `source` `[names, batch, heads, length, width]` into a state's arrays, where `batch` covers the elements
 * from `firstBatch` on.
 */
export function writeRows(state: State, { names, rows }: StateRows, source: Float32Array, firstBatch: number): void {
  const batchCount = rows.length / names.length;
  let read = 0;
  for (const [index, name] of names.entries()) {
    const array = arrayOf(state, name);
    const { data } = array;
    const [batch, heads, capacity, width] = rowShape(array);
    const planeLength = source.length / (names.length * batchCount * heads);
    for (let element = 0; element < batchCount; element++) {
      const row = rows[index * batchCount + element] as number;
      if (firstBatch + element >= batch || row < 0 || row + planeLength / width > capacity) {
        throw new Error(`rows ${row}..${row + planeLength / width} of "${name}" are outside its ${capacity}`);
      }
      for (let head = 0; head < heads; head++) {
        const plane = ((firstBatch + element) * heads + head) * capacity;
        data.set(source.subarray(read, read + planeLength), (plane + row) * width);
        read += planeLength;
      }
    }
  }
}

/** Reused for every write: fresh memory of a few megabytes costs more than widening does. */
let scratch = new Float32Array(0);

export function widened(values: RowValues): Float32Array {
  if (values.type === 'float32') return values.data;
  const count = valueCount(values);
  if (scratch.length < count) scratch = new Float32Array(count);
  widenRows(values, scratch);
  return scratch.subarray(0, count);
}
