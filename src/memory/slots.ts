/**
 * Slots of a context's arrays, and the biases that say which of them a run sees.
 *
 *   memory layers   [ header | memory 0 | memory 1 | ... | context ]
 *   other layers    [ header | context ]
 *
 * A bias row belongs to one new token: 0 for what it sees among the slots and, behind them, the run's own tokens, a large
 * negative number for the rest.
 */
import type { LayerKind } from '../graph/reader.ts';
import type { TensorData } from '../runtime/device.ts';
import { type Layout, type Segment, seenBy } from './branches.ts';
import { masked } from './reference-batch.ts';

/** What the slots hold at a moment. */
export interface Slots {
  /** Slots of the header, and how many of them hold their key-values. */
  readonly header: number;
  readonly headerSeen: number;
  /** Places for memories, and slots of each. */
  readonly memories: number;
  readonly perMemory: number;
  /** Slots for the context. */
  readonly capacity: number;
  /** Tokens that each sequence has read. */
  readonly lengths: readonly number[];
  /** Kept tokens of each memory in use, for each sequence. */
  readonly used: readonly (readonly number[])[];
  /** Context tokens that a token sees, itself included; header and memories stay in sight. */
  readonly slidingWindow: number;
}

/** Slots before the context's first. */
export function contextBase({ header, memories, perMemory }: Slots, kind: LayerKind): number {
  return header + (kind === 'memory' ? memories * perMemory : 0);
}

/** The bias of one kind of layer, `[batch, 1, length, slots + length]`, and [slots, length]. */
export function biasOf(
  slots: Slots,
  kind: LayerKind,
  layouts: readonly Layout[],
  length: number,
): { readonly bias: TensorData; readonly split: TensorData } {
  const count = contextBase(slots, kind) + slots.capacity;
  const width = count + length;
  const data = new Float32Array(slots.lengths.length * length * width).fill(masked);
  for (const [element, { segments }] of layouts.entries()) {
    for (const segment of segments) {
      for (let i = 0; i < segment.length; i++) {
        const row = (element * length + segment.offset + i) * width;
        show(data.subarray(row, row + width), slots, kind, element, segment, i);
      }
    }
  }
  return {
    bias: { type: 'float32', shape: [slots.lengths.length, 1, length, width], data },
    split: { type: 'int64', shape: [2], data: BigInt64Array.of(BigInt(count), BigInt(length)) },
  };
}

/** Unmasks in one row what token number `i` of a sequence's segment sees. */
function show(row: Float32Array, slots: Slots, kind: LayerKind, element: number, segment: Segment, i: number): void {
  row.fill(0, 0, slots.headerSeen);
  if (kind === 'memory') {
    for (const [index, kept] of (slots.used[element] as number[]).entries()) {
      const start = slots.header + index * slots.perMemory;
      row.fill(0, start, start + kept);
    }
  }
  const base = contextBase(slots, kind);
  const length = slots.lengths[element] as number;
  const oldest = Math.max(0, length + segment.depth + i + 1 - slots.slidingWindow);
  if (oldest < length) row.fill(0, base + oldest, base + length);
  const own = base + slots.capacity;
  for (const [from, to] of seenBy(segment, i, oldest - length)) row.fill(0, own + from, own + to);
}

/**
 * To which region each slot of a memory layer and each of `length` new tokens belongs: the header, each place for a memory
 * in turn, the context; `[slots + length, regions]`.
 */
export function regionsOf(slots: Slots, length: number): TensorData {
  const regions = slots.memories + 2;
  const width = contextBase(slots, 'memory') + slots.capacity + length;
  const data = new Float32Array(width * regions);
  for (let slot = 0; slot < width; slot++) {
    const memory = Math.floor((slot - slots.header) / slots.perMemory);
    const region = slot < slots.header ? 0 : 1 + Math.min(memory, slots.memories);
    data[slot * regions + region] = 1;
  }
  return { type: 'float32', shape: [width, regions], data };
}
