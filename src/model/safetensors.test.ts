import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, u64 } from '../../test/support/gguf-bytes.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { Memory3Error } from '../errors.ts';
import { openSafetensors } from './safetensors.ts';

function fileOf(header: string | Uint8Array, dataBytes: number, headerLength?: number | bigint): Uint8Array {
  const bytes = typeof header === 'string' ? Buffer.from(header) : header;
  return concat(
    u64(headerLength ?? bytes.length),
    bytes,
    Uint8Array.from({ length: dataBytes }, (_, i) => i),
  );
}

const a = '"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}';
const b = '"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}';

test('a header is read with its tensors and bytes', () => {
  using folder = temporaryFolder();
  using file = openSafetensors(folder.write('x.safetensors', fileOf(`{"__metadata__":{"format":"pt"},${a},${b}}`, 22)));
  assert.deepEqual([...file.tensors.keys()], ['a', 'b']);
  const tensor = file.tensors.get('b');
  assert.ok(tensor);
  assert.equal(tensor.type, 'BF16');
  assert.deepEqual([...file.readTensor(tensor)], [16, 17, 18, 19, 20, 21]);
});

test('a file cut at any byte is damaged', () => {
  using folder = temporaryFolder();
  const bytes = fileOf(`{${a},${b}}`, 22);
  for (let length = 0; length < bytes.length; length++) {
    const path = folder.write('x.safetensors', bytes.subarray(0, length));
    assert.throws(() => openSafetensors(path), isDamaged(/byte/), `cut at ${length}`);
  }
});

function isDamaged(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Memory3Error, String(error));
    assert.equal(error.code, 'damaged', error.message);
    assert.match(error.message, message);
    return true;
  };
}

const deep = `{"a":${'['.repeat(100_000)}`;
const faults: readonly (readonly [what: string, bytes: Uint8Array, message: RegExp])[] = [
  ['an absurd header length', fileOf(`{${a}}`, 16, 2n ** 63n), /header length \(at byte 0\) is 92233720368547/],
  ['a header length of 0', fileOf(`{${a}}`, 16, 0), /header length \(at byte 0\) is 0/],
  ['a header that is no JSON', fileOf(`{${a},`, 16), /it is not JSON/],
  ['a header that is no object', fileOf('[1,2,3,4]', 0), /does not begin with "\{"/],
  ['a header that is not UTF-8', fileOf(Uint8Array.of(0x7b, 0xc3, 0x28, 0x7d), 0), /not valid UTF-8/],
  ['a tensor twice', fileOf(`{${a},${a}}`, 16), /key "a" stands there twice/],
  [
    'a tensor twice in other letters',
    fileOf(`{${a},${a.replace('"a"', '"\\u0061"')}}`, 16),
    /key "a" stands there twice/,
  ],
  [
    'a field twice',
    fileOf('{"a":{"dtype":"F32","dtype":"F16","shape":[4],"data_offsets":[0,16]}}', 16),
    /key "dtype" stands there twice/,
  ],
  ['__proto__', fileOf(`{"__proto__":{},${a}}`, 16), /a key is named "__proto__"/],
  ['deep nesting', fileOf(deep, 0), /nested more than 32 deep/],
  [
    'a negative offset',
    fileOf('{"a":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}}', 16),
    /tensor "a" has a malformed entry/,
  ],
  [
    'an unknown field',
    fileOf('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}}', 16),
    /tensor "a" has a malformed entry/,
  ],
  ['an unknown type', fileOf(`{${a.replace('F32', 'F31')}}`, 16), /tensor "a" has the unknown type "F31"/],
  [
    'a size that does not fit',
    fileOf(`{${a.replace('[2,2]', '[2,3]')}}`, 16),
    /tensor "a" of type F32 and shape \[2,3\] needs 24 bytes/,
  ],
  [
    'an absurd shape',
    fileOf(`{${a.replace('[2,2]', '[9007199254740991,9007199254740991]')}}`, 16),
    /tensor "a" of type F32/,
  ],
  [
    'overlapping tensors',
    fileOf(`{${a},${b.replace('[16,22]', '[14,20]')}}`, 20),
    /tensor "b" overlaps another at byte/,
  ],
  ['a gap', fileOf(`{${a},${b.replace('[16,22]', '[18,24]')}}`, 24), /there is a gap before tensor "b"/],
  ['bytes after the last tensor', fileOf(`{${a}}`, 17), /1 bytes after its last tensor/],
  ['metadata that is no map of strings', fileOf(`{"__metadata__":{"x":1},${a}}`, 16), /"__metadata__"/],
];

for (const [what, bytes, message] of faults) {
  test(`refuses ${what}`, () => {
    using folder = temporaryFolder();
    const path = folder.write('x.safetensors', bytes);
    assert.throws(() => openSafetensors(path), isDamaged(message));
  });
}
