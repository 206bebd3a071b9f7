import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Memory3Error } from '../errors.ts';
import { decodeTensor, gatherRows, stackRows, supportedTensorTypes, toDense } from './quantised.ts';

/** Random blocks and what the `gguf` Python package makes of them; see test/golden/make-families.py. */
interface GoldenBlocks {
  readonly type: string;
  readonly shape: readonly [number, number];
  readonly bytes: string;
  readonly values: string;
}
const golden: readonly GoldenBlocks[] = JSON.parse(
  readFileSync(new URL('../../test/golden/quantisation.json', import.meta.url), 'utf8'),
);

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

function decode({ type, shape, bytes }: GoldenBlocks) {
  return decodeTensor(type, shape, bytesOf(bytes), type);
}

test('every supported type has golden values', () => {
  assert.deepEqual([...golden.map(({ type }) => type), 'F32'].sort(), [...supportedTensorTypes].sort());
});

for (const blocks of golden) {
  test(`${blocks.type} equals the gguf package's dequantisation`, () => {
    const tensor = decode(blocks);
    const expected = new Float32Array(bytesOf(blocks.values).buffer);
    const { data, shape } = toDense(tensor);
    assert.deepEqual(shape, blocks.shape);
    assert.equal(data.length, expected.length);
    const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
    // Formats with a minimum are summed in another order: one rounding of the offset may differ.
    const tolerance = tensor.kind === 'blocks' && tensor.offsets !== null ? scale * 2 ** -23 : 0;
    data.forEach((value, i) => {
      assert.ok(Math.abs(value - (expected[i] as number)) <= tolerance, `${i}: ${value}, expected ${expected[i]}`);
    });
  });
}

test('F32 is taken as it is', () => {
  const values = Float32Array.of(1.5, -0, Number.NaN, 3e38);
  assert.deepEqual(toDense(decodeTensor('F32', [4], new Uint8Array(values.buffer), 'x')).data, values);
});

test('half precision: signs, subnormals, infinities', () => {
  const halves = Uint16Array.of(0x0000, 0x8000, 0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00);
  const { data } = toDense(decodeTensor('F16', [7], new Uint8Array(halves.buffer), 'x'));
  assert.deepEqual([...data], [0, -0, 1, -2, 2 ** -24, 65504, Number.POSITIVE_INFINITY]);
});

test('rows are looked up as the dense matrix has them', () => {
  for (const blocks of golden) {
    const tensor = decode(blocks);
    const [, columns] = blocks.shape;
    const dense = toDense(tensor).data;
    const out = new Float32Array(3 * columns);
    gatherRows(tensor, [1, 0, 1], out);
    for (const [i, row] of [1, 0, 1].entries()) {
      const expected = dense.subarray(row * columns, (row + 1) * columns);
      assert.deepEqual(out.subarray(i * columns, (i + 1) * columns), expected, blocks.type);
    }
  }
});

test('a row that does not exist is refused', () => {
  const tensor = decode(golden[0] as GoldenBlocks);
  for (const id of [-1, 3, 0.5, Number.NaN]) {
    assert.throws(() => gatherRows(tensor, [id], new Float32Array(512)), { code: 'usage', message: /There is no row/ });
  }
  assert.throws(() => gatherRows(tensor, [0], new Float32Array(511)), { code: 'usage' });
});

test('matrices of one format are stacked, others are not', () => {
  for (const blocks of golden) {
    const tensor = decode(blocks);
    const [rows, columns] = blocks.shape;
    const stacked = stackRows([tensor, tensor]);
    assert.ok(stacked, blocks.type);
    assert.deepEqual(stacked.shape, [2 * rows, columns]);
    const once = toDense(tensor).data;
    const twice = toDense(stacked).data;
    assert.deepEqual(twice.subarray(0, once.length), once);
    assert.deepEqual(twice.subarray(once.length), once);
  }
  const byType = new Map(golden.map((blocks) => [blocks.type, decode(blocks)]));
  const pick = (type: string) => byType.get(type) as ReturnType<typeof decode>;
  for (const [one, other] of [
    ['Q4_K', 'Q6_K'],
    ['Q4_0', 'Q4_1'],
    ['Q8_0', 'F16'],
    ['Q8_0', 'Q6_K'],
  ] as const) {
    assert.equal(stackRows([pick(one), pick(other)]), undefined, `${one} and ${other}`);
  }
  assert.equal(stackRows([]), undefined);
  const vector = decodeTensor('F32', [2], new Uint8Array(8), 'bias');
  assert.deepEqual(stackRows([vector, vector])?.shape, [4]);
});

test('types, shapes and sizes that do not belong together are named', () => {
  const refused = (type: string, shape: readonly number[], length: number, code: string, message: RegExp) =>
    assert.throws(
      () => decodeTensor(type, shape, new Uint8Array(length), 'weights'),
      (error) => error instanceof Memory3Error && error.code === code && message.test(error.message),
    );
  refused('IQ2_XS', [1, 256], 74, 'unsupported', /"weights" has the type IQ2_XS; supported are F32, /);
  refused('Q4_1', [2, 48], 60, 'damaged', /"weights" has rows of 48 elements, which Q4_1's blocks of 32 do not divide/);
  refused('Q4_1', [64], 40, 'damaged', /"weights" of type Q4_1 has the shape \[64\]/);
  refused('Q4_1', [2, 32], 39, 'damaged', /"weights" has 39 bytes, where its shape and type need 40/);
  refused('F16', [3], 7, 'damaged', /"weights" has 7 bytes/);
});
