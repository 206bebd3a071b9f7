/** Half-precision numbers as they lie in model files, widened to f32 (all of which are exact). */

/** Every IEEE half by its 16 bits. */
export const halfToFloat: Float32Array = new Float32Array(
  new Float16Array(Uint16Array.from({ length: 1 << 16 }, (_, bits) => bits).buffer),
);

/** IEEE halves (little-endian, `2 n` bytes) to `n` floats. */
export function floatsFromF16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < floats.length; i++) floats[i] = halfToFloat[halves[i] as number] as number;
  return floats;
}

/** bfloat16 (little-endian, `2 n` bytes): the upper half of a float's bits. */
export function floatsFromBf16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = (halves[i] as number) << 16;
  return new Float32Array(bits.buffer);
}
