/** Rows of numbers as they are stored or sent, widened to float32 where they are used. */
import { halfToFloat } from '../half.ts';

/** Rows of `width` numbers each: as float32, as IEEE halves, or as 8-bit codes with one scale (an IEEE half) a row. */
export type RowValues =
  | { readonly type: 'float32'; readonly data: Float32Array }
  | { readonly type: 'float16'; readonly data: Uint16Array }
  | { readonly type: 'int8'; readonly codes: Int8Array; readonly scales: Uint16Array };

/** How many numbers the rows hold together. */
export function valueCount(values: RowValues): number {
  return values.type === 'int8' ? values.codes.length : values.data.length;
}

/** Writes rows as float32 into `out`, which must hold at least `valueCount(values)` numbers. */
export function widenRows(values: RowValues, out: Float32Array): void {
  if (values.type === 'float32') {
    out.set(values.data);
  } else if (values.type === 'float16') {
    // A look-up is several times faster than the engine's own conversion of a Float16Array.
    const { data } = values;
    for (let i = 0; i < data.length; i++) out[i] = halfToFloat[data[i] as number] as number;
  } else {
    const { codes, scales } = values;
    const width = codes.length / scales.length;
    for (let row = 0; row < scales.length; row++) {
      const scale = halfToFloat[scales[row] as number] as number;
      const end = (row + 1) * width;
      for (let i = row * width; i < end; i++) out[i] = (codes[i] as number) * scale;
    }
  }
}
